"""HTTP server of the daemon's endpoints: read-only, and safe against any client that can reach the port.

It gets callables only, so this module knows no store, account or metric. The callables run on the event loop and must
be fast. One that raises gives a 500; the error is logged once until the callable works again.

Each connection carries one request. Clients ask a few times a minute, so an open connection would save nothing, and
`stop` would have to wait for it. A connection ends after `connection_timeout` seconds, also if its request arrives too
slowly or its answer is not read, and no more than MAX_CONNECTIONS are open: one more ends the oldest. So a flood of
connections cannot use up the process's file descriptors. The body of a request is not read, because no endpoint has
one.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import HttpVersion11, hdrs, web

from harvester.errors import ConfigError
from harvester.events import Event
from harvester.runner.ports import Observer
from harvester.web.hosts import is_allowed_host

CONNECTION_TIMEOUT = 10.0  # seconds
MAX_CONNECTIONS = 64  # at a time; an answer takes milliseconds, so the oldest one is not waiting for its own

_METHODS = ("GET", "HEAD")
_PLAIN_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "harvester"}
_SHUTDOWN_TIMEOUT = 0.2  # seconds; an answer takes milliseconds
_LINGER = 0.5  # seconds in which the body of a refused request is read and dropped, so that its sender gets the answer

# aiohttp logs a traceback for each malformed request, so clients could fill the log.
_disabled_logger = logging.getLogger(f"{__name__}.aiohttp")
_disabled_logger.disabled = True


@dataclass(frozen=True, slots=True)
class Readiness:
    """Answer of /readyz: ready or not, and the facts for its JSON body."""

    ready: bool
    body: Mapping[str, Any]


class _RequestHandler(web.RequestHandler):
    """Connection whose answers to malformed requests repeat nothing of them and name no library."""

    open_connections: dict[asyncio.BaseTransport, None]  # of the server, the oldest first

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and end the oldest one if there are too many."""
        super().connection_made(transport)
        if len(self.open_connections) >= MAX_CONNECTIONS:
            oldest = next(iter(self.open_connections))
            del self.open_connections[oldest]
            if isinstance(oldest, asyncio.Transport):
                oldest.abort()
        self.open_connections[transport] = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count the connection no more."""
        if self.transport is not None:
            self.open_connections.pop(self.transport, None)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a request that could not be parsed."""
        del request, exc, message
        response = _text(HTTPStatus(status), f"{HTTPStatus(status).phrase}\n")
        response.headers.update(_HEADERS)
        response.force_close()
        return response


class _Server(web.Server):
    open_connections: dict[asyncio.BaseTransport, None]

    def __call__(self) -> _RequestHandler:
        handler = _RequestHandler(self, loop=self._loop, **self._kwargs)
        handler.open_connections = self.open_connections
        return handler


class Endpoints:
    """HTTP server, active between `start` and `stop`.

    Args:
        healthy: returns True if the process works.
        readiness: returns the answer of /readyz.
        metrics: returns the metrics in the text format of Prometheus.
        allowed_hosts: names in lower case that a Host header may have, besides localhost and addresses.
        emit: takes an event when one of the callables raises.
        connection_timeout: seconds after which a connection is closed.
    """

    def __init__(
        self,
        *,
        healthy: Callable[[], bool],
        readiness: Callable[[], Readiness],
        metrics: Callable[[], bytes],
        allowed_hosts: Iterable[str] = (),
        emit: Observer | None = None,
        connection_timeout: float = CONNECTION_TIMEOUT,
    ) -> None:
        self._names = set(allowed_hosts)
        self._emit = emit
        self._connection_timeout = connection_timeout
        self._failing: set[str] = set()  # paths whose callable raised at the last request
        self._runner: web.ServerRunner | None = None
        self._pages: dict[str, Callable[[], web.Response]] = {
            "/healthz": lambda: _health(healthy()),
            "/readyz": lambda: _readiness(readiness()),
            "/metrics": lambda: _response(HTTPStatus.OK, metrics(), _PROMETHEUS),
        }
        contents = f"{' '.join(self._pages)}\n"
        self._pages["/"] = lambda: _text(HTTPStatus.OK, contents)

    async def start(self, address: tuple[str, int]) -> tuple[str, int]:
        """Listen on an address, and return it; a port of 0 is replaced by the free one that was chosen.

        Raises:
            ConfigError: the address is in use or invalid.
        """
        host, port = address
        server = _Server(
            self._handle,
            access_log=None,
            logger=_disabled_logger,
            keepalive_timeout=self._connection_timeout,
            lingering_time=_LINGER,
        )
        server.open_connections = {}
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_TIMEOUT)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(f"daemon.listen {_format(host, port)}: {_reason(error)}") from None
        except BaseException:
            await runner.cleanup()
            raise
        self._names.add(host.lower())
        self._runner = runner
        return host, runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        response = self._respond(request)
        response.headers.update(_HEADERS)
        response.force_close()
        if request.transport is not None:
            # Closing waits until the whole answer is sent, and a client that does not read it could delay that forever.
            asyncio.get_running_loop().call_later(self._connection_timeout, request.transport.abort)
        return response

    def _respond(self, request: web.BaseRequest) -> web.Response:
        if not self._is_allowed(request):
            return _text(
                HTTPStatus.MISDIRECTED_REQUEST, "The name in the Host header is not in daemon.allowed_hosts.\n"
            )
        page = self._pages.get(request.path)
        if page is None:
            return _text(HTTPStatus.NOT_FOUND, f"Not found. The paths are: {' '.join(self._pages)}\n")
        if request.method not in _METHODS:
            response = _text(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are allowed.\n")
            response.headers[hdrs.ALLOW] = ", ".join(_METHODS)
            return response
        return self._render(request.path, page)

    def _is_allowed(self, request: web.BaseRequest) -> bool:
        hosts = request.headers.getall(hdrs.HOST, [])
        if not hosts and request.version < HttpVersion11:
            return True  # a load balancer's probe: HTTP/1.0 has no Host, and every browser sends one
        name = request.get_extra_info("sockname") or ("",)
        return len(hosts) == 1 and is_allowed_host(hosts[0], self._names, name[0])

    def _render(self, path: str, page: Callable[[], web.Response]) -> web.Response:
        try:
            response = page()
        except Exception as error:  # noqa: BLE001 - a bug in an endpoint must not stop the daemon
            if path not in self._failing and self._emit is not None:
                self._emit(Event.BUG, path=path, error=error)
            self._failing.add(path)
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error; the log has the traceback.\n")
        self._failing.discard(path)
        return response


def _health(healthy: bool) -> web.Response:  # noqa: FBT001 - its only argument
    return _text(HTTPStatus.OK, "ok\n") if healthy else _text(HTTPStatus.SERVICE_UNAVAILABLE, "not working\n")


def _readiness(readiness: Readiness) -> web.Response:
    return _json(HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE, readiness.body)


def _json(status: HTTPStatus, body: Mapping[str, Any]) -> web.Response:
    return _response(status, f"{json.dumps(body, default=str)}\n".encode(), _JSON)


def _text(status: HTTPStatus, text: str) -> web.Response:
    return _response(status, text.encode(), _PLAIN_TEXT)


def _response(status: HTTPStatus, body: bytes, content_type: str) -> web.Response:
    return web.Response(status=status, body=body, headers={hdrs.CONTENT_TYPE: content_type})


def _format(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the name cannot be resolved"
    if error.errno == errno.EADDRINUSE:
        return 'another program listens on it, perhaps another daemon; set another port, or "" for no endpoints'
    return os.strerror(error.errno) if error.errno else "unknown error"
