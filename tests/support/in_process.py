"""A whole process in virtual time: its event loop, its disk, and the wire to a simulated server. No sockets.

`Wire` outlives the processes that use it: what was sent arrives and counts, also when nobody waits for the answer any
more. `Loop` counts its steps and can be told to die at any of them, as by kill -9: from there on nothing that is
still cleaned up reaches the wire or the disk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit

from harvester.errors import Outage, SourceUnavailable, StoreLost
from harvester.simulator.faults import Ending
from harvester.simulator.options import AUTH
from harvester.simulator.request import Exchange, Reply, Request
from harvester.source.transport import CONNECT_TIMEOUT, Response
from harvester.source.transport import Request as Sent
from tests.support.inline_executor import InlineExecutor
from tests.support.virtual import VirtualLoop

if TYPE_CHECKING:
    from harvester.simulator.api import SimulatedApi

P = ParamSpec("P")
T = TypeVar("T")


class Killed(Exception):
    """The process is gone."""


class _Ready(deque[asyncio.Handle]):
    """The loop's queue of what can go on: taking one out is one step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.last_step: int | None = None

    def popleft(self) -> asyncio.Handle:
        if self.last_step is not None and self.steps >= self.last_step:
            raise Killed
        self.steps += 1
        return super().popleft()


class Loop(VirtualLoop):
    """A virtual loop that can die between any two steps of its tasks."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = _Ready()

    @property
    def steps(self) -> int:
        """How often anything went on: what a busy loop would drive up."""
        return self._ready.steps

    def die_at(self, step: int) -> None:
        """Raise Killed out of the loop instead of going on after so many steps."""
        self._ready.last_step = step

    def die(self) -> None:
        """Now."""
        self.die_at(self.steps)

    def bury(self) -> None:
        """End what is left of the tasks, and close."""
        self._ready.last_step = None
        while left := asyncio.all_tasks(self):
            for task in left:
                task.cancel()
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()


class Disk(InlineExecutor):
    """Runs a process' SQL at once, and none once the process is dead."""

    def __init__(self) -> None:
        self.dead = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if not self.dead:
            return super().submit(fn, *args, **kwargs)
        future: Future[T] = Future()
        future.set_exception(StoreLost("the process is dead"))
        return future


class Weather(Enum):
    """What becomes of requests, as far as the network decides."""

    FAIR = auto()
    REFUSED = auto()  # nobody listens: known at once
    NO_ROUTE = auto()  # connecting leads nowhere
    DEAF = auto()  # connected, but the request never reaches the API
    MUTE = auto()  # it arrives and counts, and no answer comes


@dataclass
class Wire:
    """The way to the server and back. `now` gives the true time, epoch seconds, whatever process lives."""

    api: SimulatedApi
    now: Callable[[], float]
    forecast: list[tuple[float, float, Weather]] = field(default_factory=list)  # [from, to) in true time
    sent: int = 0  # data requests that left
    in_flight: int = 0  # data requests
    most_in_flight: int = 0
    _stragglers: list[tuple[float, Exchange]] = field(default_factory=list)

    def weather(self) -> Weather:
        """The present one: the first spell that holds this moment, else fair."""
        now = self.now()
        return next((kind for first, last, kind in self.forecast if first <= now < last), Weather.FAIR)

    def arrive(self, exchange: Exchange) -> Reply:
        """A request reaches the server, after those that nobody waits for and that were sent before it."""
        self.settle()
        return self.api.answer(exchange, self.now())

    def abandon(self, exchange: Exchange, arrives_at: float) -> None:
        """Nobody waits for this one any more, but it is under way."""
        self._stragglers.append((arrives_at, exchange))

    def settle(self) -> None:
        """Let arrive what is due and has nobody who waits for it."""
        now = self.now()
        due = sorted((item for item in self._stragglers if item[0] <= now), key=lambda item: item[0])
        self._stragglers = [item for item in self._stragglers if item[0] > now]
        for moment, exchange in due:
            self.api.answer(exchange, moment)


class InProcessTransport:
    """harvester.source.transport.Transport over a Wire; fails in the same words as the real one does."""

    def __init__(self, wire: Wire, *, timeout: float = 60.0) -> None:
        self._wire = wire
        self._timeout = timeout
        self.dead = False

    @asynccontextmanager
    async def send(self, request: Sent) -> AsyncIterator[Response]:
        """See Transport."""
        if self.dead:
            raise SourceUnavailable("the process is dead", outage=Outage.CONNECT)
        wire, deadline = self._wire, _now() + self._timeout
        weather = wire.weather()
        if weather in {Weather.REFUSED, Weather.NO_ROUTE}:
            await asyncio.sleep(0 if weather is Weather.REFUSED else min(CONNECT_TIMEOUT, self._timeout))
            raise SourceUnavailable("cannot connect", outage=Outage.CONNECT)
        is_data = not request.url.endswith(AUTH)
        wire.sent += is_data
        wire.in_flight += is_data
        wire.most_in_flight = max(wire.most_in_flight, wire.in_flight)
        try:
            reply = await self._carried(request, weather, deadline)
            headers: dict[str, str] = {}
            for name, value in reply.headers:
                key = name.lower()
                headers[key] = f"{headers[key]}, {value}" if key in headers else value
            yield Response(reply.status, headers, _chunks(reply, deadline))
        finally:
            wire.in_flight -= is_data

    async def _carried(self, request: Sent, weather: Weather, deadline: float) -> Reply:
        if weather is Weather.DEAF:
            await _pass(self._timeout, deadline)
        wire = self._wire
        lowered = {name.lower(): value for name, value in request.headers.items()}
        exchange = wire.api.accept(Request(request.method, urlsplit(request.url).path, lowered, request.body))
        arrives_at = wire.now() + exchange.inbound
        try:
            await _pass(exchange.inbound, deadline)
        except BaseException:
            wire.abandon(exchange, arrives_at)
            raise
        reply = wire.arrive(exchange)
        await _pass(self._timeout if weather is Weather.MUTE else reply.delay, deadline)
        if reply.ending is Ending.CLOSED:
            raise SourceUnavailable("the server closed the connection without an answer", outage=Outage.CLOSED)
        return reply


async def _chunks(reply: Reply, deadline: float) -> AsyncIterator[bytes]:
    body = reply.body if reply.ending is Ending.WHOLE else reply.body[: reply.sent]
    half = len(body) // 2
    for piece in (body[:half], body[half:]):
        await _pass(reply.pace / 2, deadline)
        if piece:
            yield piece
    if reply.ending is not Ending.WHOLE:
        raise SourceUnavailable("the connection closed before the body was whole", outage=Outage.CLOSED)


async def _pass(seconds: float, deadline: float) -> None:
    """Wait, but not beyond the time allowed for the whole exchange."""
    left = deadline - _now()
    if seconds < left:
        if seconds > 0:
            await asyncio.sleep(seconds)
        return
    await asyncio.sleep(left)
    raise SourceUnavailable("no whole answer in time", outage=Outage.TIMEOUT)


def _now() -> float:
    return asyncio.get_running_loop().time()
