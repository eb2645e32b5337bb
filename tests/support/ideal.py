"""How early a number of requests can end at all: what a run in virtual time is measured against."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harvester.simulator.options import Options
    from tests.support.rig import Desired


@dataclass
class Ideal:
    """The earliest end of so many requests for one who knows the server's clock and sends alone."""

    options: Options
    desired: Desired
    start: float
    left: Counter[int] = field(default_factory=Counter)

    def seconds(self, requests: int) -> float:
        """From the start to the last answer."""
        options, desired = self.options, self.desired
        allowed = min(options.limit, desired.limit) - desired.reserve
        travel = (options.latency + options.jitter / 2) / 2
        workers = [self.start] * desired.concurrency
        pace = end = self.start
        for _ in range(requests):
            workers.sort()
            sent = max(workers[0], pace)
            window = self._window(sent + travel)
            while self.left[window] >= allowed:
                window += 1
            self.left[window] += 1
            sent = max(sent, self._begins(window) - travel)
            workers[0] = end = sent + 2 * travel
            pace = sent + 1 / desired.rate
        return end - self.start

    def _window(self, now: float) -> int:
        drifted = (now - self.options.clock_origin) * self.options.clock_drift * 1e-6
        return int((now + self.options.clock_offset + drifted) // self.options.window)

    def _begins(self, window: int) -> float:
        rate = self.options.clock_drift * 1e-6
        at = window * self.options.window - self.options.clock_offset
        return (at + self.options.clock_origin * rate) / (1 + rate)
