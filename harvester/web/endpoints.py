"""The daemon's endpoints: read-only, and harmless to whoever may reach the port.

Given callables only, so nothing in here knows a store, an account or a metric. They run on the event loop and should
be quick; one that raises gives a 500, and is told of once until it works again.

Every connection carries one request. Who asks does so a few times a minute, so a connection kept open would save
nothing, and would have to be waited for at the end. A connection may last `patience` seconds, whether its request
trickles in or its answer is not read; a request's body is not looked at, since none of ours has one.
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
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web

from harvester.errors import ConfigError
from harvester.events import Event
from harvester.web.hosts import is_ours

if TYPE_CHECKING:
    from harvester.runner.ports import Observer

PATIENCE = 10.0  # seconds

_METHODS = ("GET", "HEAD")
_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "harvester"}
_SHUTDOWN = 0.2  # seconds; an answer under way takes milliseconds
_LINGER = 0.5  # seconds in which a body that nobody asked for is swallowed, so that its sender can read our answer

# aiohttp would log the traceback of each malformed request; whoever sends nonsense must not fill our log.
_silence = logging.getLogger(f"{__name__}.aiohttp")
_silence.disabled = True


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether work can be done, and the facts behind it: what /readyz shows as JSON."""

    ready: bool
    body: Mapping[str, Any]


class Endpoints:
    """Serves between `start` and `stop`.

    Args:
        healthy: whether the process works.
        readiness: whether the database is at head and some account can work.
        metrics: the metrics, in Prometheus' text format.
        status: what /status shows as JSON; without it there is no /status.
        allowed_hosts: names, in lower case, under which requests may come besides localhost and addresses.
        tell: is told when one of the above raises.
        patience: seconds that a connection may last.
    """

    def __init__(
        self,
        *,
        healthy: Callable[[], bool],
        readiness: Callable[[], Readiness],
        metrics: Callable[[], bytes],
        status: Callable[[], Mapping[str, Any]] | None = None,
        allowed_hosts: Iterable[str] = (),
        emit: Observer | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._names = set(allowed_hosts)
        self._emit = emit
        self._patience = patience
        self._broken: set[str] = set()  # paths whose callable raised last time
        self._runner: web.ServerRunner | None = None
        self._pages: dict[str, Callable[[], web.Response]] = {
            "/healthz": lambda: _health(healthy()),
            "/readyz": lambda: _readiness(readiness()),
            "/metrics": lambda: _answer(HTTPStatus.OK, metrics(), _PROMETHEUS),
        }
        if status is not None:
            self._pages["/status"] = lambda: _json(HTTPStatus.OK, status())
        contents = f"{' '.join(self._pages)}\n"
        self._pages["/"] = lambda: _text(HTTPStatus.OK, contents)

    async def start(self, address: tuple[str, int]) -> tuple[str, int]:
        """Listen; returns the address with the port in its place where 0 was asked for.

        Raises:
            ConfigError: it cannot be listened on.
        """
        host, port = address
        server = web.Server(
            self._handle,
            access_log=None,
            logger=_silence,
            keepalive_timeout=self._patience,
            lingering_time=_LINGER,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(f"daemon.listen {_shown(host, port)}: {_reason(error)}") from None
        except BaseException:
            await runner.cleanup()
            raise
        self._names.add(host.lower())
        self._runner = runner
        return host, runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection, within a moment."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        response = self._respond(request)
        response.headers.update(_HEADERS)
        response.force_close()
        if request.transport is not None:
            # Closing waits until the rest of the answer has left, which a peer that does not read can put off.
            asyncio.get_running_loop().call_later(self._patience, request.transport.abort)
        return response

    def _respond(self, request: web.BaseRequest) -> web.Response:
        if not self._meant_for_us(request):
            return _text(HTTPStatus.MISDIRECTED_REQUEST, "This name is not in daemon.allowed_hosts.\n")
        page = self._pages.get(request.path)
        if page is None:
            return _text(HTTPStatus.NOT_FOUND, f"There is nothing here but {' '.join(self._pages)}\n")
        if request.method not in _METHODS:
            response = _text(HTTPStatus.METHOD_NOT_ALLOWED, "Read-only.\n")
            response.headers[hdrs.ALLOW] = ", ".join(_METHODS)
            return response
        return self._rendered(request.path, page)

    def _meant_for_us(self, request: web.BaseRequest) -> bool:
        hosts = request.headers.getall(hdrs.HOST, [])
        name = request.get_extra_info("sockname") or ("",)
        return len(hosts) == 1 and is_ours(hosts[0], self._names, name[0])

    def _rendered(self, path: str, page: Callable[[], web.Response]) -> web.Response:
        try:
            response = page()
        except Exception as error:  # noqa: BLE001 - an endpoint's bug must not reach the work beside it
            if path not in self._broken and self._emit is not None:
                self._emit(Event.BUG, path=path, error=error)
            self._broken.add(path)
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "A bug; the log has more.\n")
        self._broken.discard(path)
        return response


def _health(healthy: bool) -> web.Response:  # noqa: FBT001 - the one thing it turns into a page
    return _text(HTTPStatus.OK, "ok\n") if healthy else _text(HTTPStatus.SERVICE_UNAVAILABLE, "not working\n")


def _readiness(readiness: Readiness) -> web.Response:
    return _json(HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE, readiness.body)


def _json(status: HTTPStatus, body: Mapping[str, Any]) -> web.Response:
    return _answer(status, f"{json.dumps(body, default=str)}\n".encode(), _JSON)


def _text(status: HTTPStatus, text: str) -> web.Response:
    return _answer(status, text.encode(), _TEXT)


def _answer(status: HTTPStatus, body: bytes, content_type: str) -> web.Response:
    return web.Response(status=status, body=body, headers={hdrs.CONTENT_TYPE: content_type})


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the name cannot be resolved"
    if error.errno == errno.EADDRINUSE:
        return 'another program listens there, perhaps another daemon: choose another port, or "" for no endpoints'
    return os.strerror(error.errno) if error.errno else "it cannot be listened on"
