"""HTTP server of the simulated API on a loopback port: real sockets, cut bodies and dropped connections.

It has no behaviour of its own: it passes requests to `SimulatedApi`, waits as long as the exchange says, and sends the
reply.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Self

from aiohttp import web

from harvester.clock import Clock, SystemClock
from harvester.simulator.api import PREFIX, SimulatedApi
from harvester.simulator.faults import Ending
from harvester.simulator.request import Exchange, Reply, Request

_SLOW_BODY_PIECES = 20  # in which a body is sent slowly
_SHUTDOWN_TIMEOUT = 0.2  # seconds for requests in flight
_BACKLOG = 1024  # connections


class SimulatorServer:
    """Server of a `SimulatedApi`, active inside `async with`; `url` is its base URL.

    Args:
        api: answers the requests.
        host: a loopback address (no name, because a name may have two addresses).
        port: 0 for a free one.
        clock: the true time.
        observer: called with each exchange and its reply, before the reply is sent.
    """

    def __init__(
        self,
        api: SimulatedApi,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        clock: Clock | None = None,
        observer: Callable[[Exchange, Reply], None] | None = None,
    ) -> None:
        if not _is_loopback(host):
            raise ValueError(f"the simulator listens on loopback addresses only, not on {host}")
        self.api = api
        self._host = host
        self._port = port
        self._clock = clock or SystemClock()
        self._observer = observer
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Base URL without a final slash."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}{PREFIX}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(self._remove_date)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_TIMEOUT)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._host, self._port, backlog=_BACKLOG)
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self._port = site.port
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in http.headers.items()}
        body = await http.read() if http.can_read_body else b""
        exchange = self.api.accept(Request(http.method, http.raw_path.partition("?")[0], headers, body))
        await self._sleep(exchange.inbound)
        reply = self.api.answer(exchange, self._clock.time())
        if self._observer is not None:
            self._observer(exchange, reply)
        await self._sleep(reply.delay)
        if reply.ending is Ending.CLOSED:
            _close(http)
            return web.Response()  # aiohttp needs one; it is not sent
        if reply.ending is Ending.WHOLE and not reply.pace:
            return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
        return await self._stream(http, reply)

    async def _remove_date(self, _: web.Request, response: web.StreamResponse) -> None:
        # aiohttp adds a missing Date, but its absence may be simulated.
        if not self.api.options.date:
            response.headers.popall("Date", None)

    async def _stream(self, http: web.Request, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        if reply.ending is Ending.CUT_CHUNKED:
            response.enable_chunked_encoding()
        else:
            response.content_length = len(reply.body)
        body = reply.body if reply.ending is Ending.WHOLE else reply.body[: reply.sent]
        await response.prepare(http)
        size = max(1, -(-len(body) // _SLOW_BODY_PIECES))
        for begin in range(0, len(body), size):
            await response.write(body[begin : begin + size])
            await self._sleep(reply.pace / _SLOW_BODY_PIECES)
        if reply.ending is not Ending.WHOLE:
            _close(http)
        return response

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(seconds)


def _close(http: web.Request) -> None:
    if http.transport is not None:
        http.transport.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
