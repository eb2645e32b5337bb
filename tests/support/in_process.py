"""Parts of a process in virtual time, without sockets: event loop, disk, and the wire to a simulated server.

`Wire` outlives the processes that use it: a request that was sent arrives and counts even if no process waits for the
answer any more. `Loop` counts its steps and can die at any of them, as by kill -9: afterwards nothing that clean-up
code does reaches the wire or the disk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

from harvester.errors import Outage, SourceUnavailable, StoreLost
from harvester.simulator.api import SimulatedApi
from harvester.simulator.faults import Ending
from harvester.simulator.options import AUTH
from harvester.simulator.request import Exchange, Reply, Request
from harvester.source.transport import CONNECT_TIMEOUT, Response
from harvester.source.transport import Request as Sent
from tests.support.inline_executor import InlineExecutor
from tests.support.virtual import VirtualLoop

P = ParamSpec("P")
T = TypeVar("T")


class Killed(Exception):
    """The simulated process was killed."""


class _Ready(deque[asyncio.Handle]):
    """The loop's queue of ready callbacks: taking one out is one step."""

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
        """The number of callbacks run: a busy loop would increase it."""
        return self._ready.steps

    def die_at(self, step: int) -> None:
        """Raise Killed out of the loop after so many steps."""
        self._ready.last_step = step

    def die(self) -> None:
        """Raise Killed at the next step."""
        self.die_at(self.steps)

    def close_after_death(self) -> None:
        """Cancel the remaining tasks and close the loop."""
        self._ready.last_step = None
        while left := asyncio.all_tasks(self):
            for task in left:
                task.cancel()
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()


class Disk(InlineExecutor):
    """Runs the SQL of a process inline, and refuses it once the process is dead."""

    def __init__(self) -> None:
        self.dead = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if not self.dead:
            return super().submit(fn, *args, **kwargs)
        future: Future[T] = Future()
        future.set_exception(StoreLost("the process is dead"))
        return future


class NetworkState(Enum):
    """State of the network between client and API."""

    UP = auto()
    REFUSED = auto()  # the connection is refused at once
    NO_ROUTE = auto()  # connecting times out
    UNDELIVERED = auto()  # connected, but the request never reaches the API
    UNANSWERED = auto()  # the request arrives and counts, but no answer comes


@dataclass
class Wire:
    """Connection to the server. `now` returns the true epoch seconds, also while no process lives."""

    api: SimulatedApi
    now: Callable[[], float]
    outages: list[tuple[float, float, NetworkState]] = field(default_factory=list)  # [from, to) in true time
    sent: int = 0  # data requests that left
    in_flight: int = 0  # data requests
    most_in_flight: int = 0
    _abandoned: list[tuple[float, Exchange]] = field(default_factory=list)

    def state(self) -> NetworkState:
        """Return the present state: that of the first outage that covers this moment, else UP."""
        now = self.now()
        return next((kind for first, last, kind in self.outages if first <= now < last), NetworkState.UP)

    def arrive(self, exchange: Exchange) -> Reply:
        """Deliver a request to the server, after the abandoned ones that were sent before it."""
        self.settle()
        return self.api.answer(exchange, self.now())

    def abandon(self, exchange: Exchange, arrives_at: float) -> None:
        """Note a request under way whose client has gone."""
        self._abandoned.append((arrives_at, exchange))

    def settle(self) -> None:
        """Deliver the abandoned requests that are due."""
        now = self.now()
        due = sorted((item for item in self._abandoned if item[0] <= now), key=lambda item: item[0])
        self._abandoned = [item for item in self._abandoned if item[0] > now]
        for moment, exchange in due:
            self.api.answer(exchange, moment)


class InProcessTransport:
    """harvester.source.transport.Transport over a Wire; its errors have the words of the real one's."""

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
        state = wire.state()
        if state in {NetworkState.REFUSED, NetworkState.NO_ROUTE}:
            await asyncio.sleep(0 if state is NetworkState.REFUSED else min(CONNECT_TIMEOUT, self._timeout))
            raise SourceUnavailable("cannot connect", outage=Outage.CONNECT)
        is_data = not request.url.endswith(AUTH)
        wire.sent += is_data
        wire.in_flight += is_data
        wire.most_in_flight = max(wire.most_in_flight, wire.in_flight)
        try:
            reply = await self._exchange(request, state, deadline)
            headers: dict[str, str] = {}
            for name, value in reply.headers:
                key = name.lower()
                headers[key] = f"{headers[key]}, {value}" if key in headers else value
            yield Response(reply.status, headers, _chunks(reply, deadline))
        finally:
            wire.in_flight -= is_data

    async def _exchange(self, request: Sent, state: NetworkState, deadline: float) -> Reply:
        if state is NetworkState.UNDELIVERED:
            await _sleep(self._timeout, deadline)
        wire = self._wire
        lowered = {name.lower(): value for name, value in request.headers.items()}
        exchange = wire.api.accept(Request(request.method, urlsplit(request.url).path, lowered, request.body))
        arrives_at = wire.now() + exchange.inbound
        try:
            await _sleep(exchange.inbound, deadline)
        except BaseException:
            wire.abandon(exchange, arrives_at)
            raise
        reply = wire.arrive(exchange)
        await _sleep(self._timeout if state is NetworkState.UNANSWERED else reply.delay, deadline)
        if reply.ending is Ending.CLOSED:
            raise SourceUnavailable("the server closed the connection without an answer", outage=Outage.CLOSED)
        return reply


async def _chunks(reply: Reply, deadline: float) -> AsyncIterator[bytes]:
    body = reply.body if reply.ending is Ending.WHOLE else reply.body[: reply.sent]
    half = len(body) // 2
    for piece in (body[:half], body[half:]):
        await _sleep(reply.pace / 2, deadline)
        if piece:
            yield piece
    if reply.ending is not Ending.WHOLE:
        raise SourceUnavailable("the connection closed before the whole body came", outage=Outage.CLOSED)


async def _sleep(seconds: float, deadline: float) -> None:
    """Sleep, or raise at the deadline of the whole exchange."""
    left = deadline - _now()
    if seconds < left:
        if seconds > 0:
            await asyncio.sleep(seconds)
        return
    await asyncio.sleep(left)
    raise SourceUnavailable("no whole answer in time", outage=Outage.TIMEOUT)


def _now() -> float:
    return asyncio.get_running_loop().time()
