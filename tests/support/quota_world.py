"""Simulation of a Quota against a WindowServer by a list of events, without an event loop: exact and fast.

Time is the true time, which is also the client's monotonic clock; `host` is the time of day on the client's machine.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from harvester.core.headers import read_quota_headers
from harvester.core.quota import Block, Denied, Quota, Token
from tests.support.window_server import EPOCH, WindowServer

if TYPE_CHECKING:
    from harvester.core.model import QuotaRecord


OK = 200


@dataclass
class World:
    server: WindowServer
    random: Random = field(default_factory=lambda: Random(0))  # noqa: S311 - a schedule, not a secret
    reserve: int = 0
    concurrency: int = 8
    latency: Callable[[Random], float] = lambda random: random.uniform(0.002, 0.03)
    lose: float = 0.0  # share of requests whose answer never comes
    host_ahead: float = 0.0  # of the true time
    configured_limit: int = 150
    configured_window: float = 900
    now: float = 0.0
    record: QuotaRecord | None = None
    saves: int = 0
    granted: int = 0
    done: int = 0  # answered 200

    def __post_init__(self) -> None:
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._process = 0  # of the client: answers to a dead one are dropped
        self._tokens: set[Token] = set()
        self.start()

    @property
    def host(self) -> float:
        return EPOCH + self.now + self.host_ahead

    def start(self) -> None:
        """Start a client process."""
        self._process += 1
        self._tokens.clear()
        self.quota = Quota(
            limit=self.configured_limit,
            window=self.configured_window,
            reserve=self.reserve,
            now=self.now,
            host=self.host,
        )
        if self.record is not None:
            self.quota.restore(self.record, self.now, self.host)

    def crash(self, away: float) -> None:
        """Kill the process and start another after `away` seconds. Requests in flight arrive meanwhile."""
        self._process += 1
        self.sleep(away)
        self.start()

    def sleep(self, seconds: float) -> None:
        """Let time pass in which the client does nothing, while requests in flight arrive."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self._step()
        self.now = end

    def at(self, moment: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), what))

    def work(self, requests: int, until: float = float("inf")) -> int:
        """Send `requests` requests as soon as possible. Return how many were answered 200."""
        goal, before = self.done + requests, self.done
        while self.now < until:
            waiting = min(self.concurrency, goal - self.done) - len(self._tokens)
            denied = self._send(waiting)
            if self.done >= goal:
                break
            assert denied is None or denied > self.now, "denied until a past moment"
            wake = min(until, denied if denied is not None else float("inf"))
            if self._events and self._events[0][0] <= wake:
                self._step()
            else:
                assert wake < float("inf"), "denied for ever"
                self.now = wake
        return self.done - before

    def _send(self, waiting: int) -> float | None:
        for left in range(waiting, 0, -1):
            answer = self.quota.acquire(self.now, left)
            if isinstance(answer, Block):
                self.record = self.quota.record(answer, self.now, self.host)
                self.quota.stored(answer)
                self.saves += 1
                answer = self.quota.acquire(self.now, left)
            if isinstance(answer, Denied):
                return answer.until
            assert isinstance(answer, Token), "asks to store twice"
            self._launch(answer)
        return None

    def _launch(self, token: Token) -> None:
        self.granted += 1
        self._tokens.add(token)
        process, lost = self._process, self.random.random() < self.lose
        there, back = self.latency(self.random), self.latency(self.random)

        def arrive() -> None:
            status, headers = self.server.count(self.now)
            self.at(self.now + back, lambda: answer(status, headers))

        def answer(status: int, headers: dict[str, str]) -> None:
            if process != self._process:
                return
            self._tokens.discard(token)
            if lost:
                self.quota.lost(token, self.now)
            else:
                self.quota.observe(token, self.now, status, read_quota_headers(headers))
                self.done += status == OK

        self.at(self.now + there, arrive)

    def _step(self) -> None:
        moment, _, what = heapq.heappop(self._events)
        self.now = max(self.now, moment)
        what()
