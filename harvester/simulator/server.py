"""The simulated API on a loopback port: real sockets, real cut bodies, real dropped connections.

It decides nothing: it carries requests to `SimulatedApi`, waits as long as that says, and sends what that answers.
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

_PIECES = 20  # a trickling body comes in so many
_SHUTDOWN = 0.2  # seconds that a request in flight is waited for
_BACKLOG = 1024


class SimulatorServer:
    """Serves a `SimulatedApi` within `async with`; `url` is its base URL.

    Args:
        api: what to serve.
        host: a loopback address (no name: that may stand for two of them).
        port: 0 for a free one.
        clock: the true time.
        observer: called with every exchange and its reply, before it is sent.
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
            raise ValueError(f"The simulator listens on loopback addresses only, not on {host}")
        self.api = api
        self._host = host
        self._port = port
        self._clock = clock or SystemClock()
        self._observer = observer
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}{PREFIX}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(self._strip)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN)
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
            _hang_up(http)
            return web.Response()  # goes nowhere
        if reply.ending is Ending.WHOLE and not reply.pace:
            return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
        return await self._stream(http, reply)

    async def _strip(self, _: web.Request, response: web.StreamResponse) -> None:
        # aiohttp adds what is lacking, and whether there is a Date is the simulated server's affair.
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
        size = max(1, -(-len(body) // _PIECES))
        for begin in range(0, len(body), size):
            await response.write(body[begin : begin + size])
            await self._sleep(reply.pace / _PIECES)
        if reply.ending is not Ending.WHOLE:
            _hang_up(http)
        return response

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(seconds)


def _hang_up(http: web.Request) -> None:
    if http.transport is not None:
        http.transport.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
