"""The server's clock, as far as its answers show it: monotonic time plus an offset that is known to an interval.

An answer with Date D, whose request left at s and whose headers were there at r (monotonic), was made somewhere
between s and r while the server's clock showed a moment in [D, D + 1). So the offset lies in (D - r, D + 1 - s). Each
answer's interval is cut with what was known before, widened by DRIFT for the time gone since. An empty cut means that
a clock was stepped or the host slept: then the newest answer alone is believed.

The low end is what the quota waits by, and it holds even where a server writes a Date that it made a moment ago; the
high end does not, so it gets a little room (STALE).

Rejected: a point estimate with a filter. It is closer on average, and wrong by an unknown amount on either side;
entering a window early costs a 429. Keeping the interval for ever without widening: measured, a drift of 50 ppm then
entered nearly every window early.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

DRIFT = 200e-6  # how fast two clocks may part, seconds per second: four times a bad quartz
STALE = 0.05  # seconds; how old a Date may be that a server had at hand


@dataclass(frozen=True, slots=True)
class ServerClock:
    """Server's epoch seconds minus monotonic seconds: within [low, high] at the monotonic moment `at`.

    `heard` is false as long as the interval is a guess (the host's clock, say): the first answer replaces it whole.
    """

    low: float
    high: float
    at: float
    heard: bool = False

    def bounds(self, now: float) -> tuple[float, float]:
        """The earliest and the latest that the server's clock can show now, epoch seconds."""
        doubt = self._drift(now)
        return now + self.low - doubt, now + self.high + doubt

    def doubt(self, now: float) -> float:
        """Seconds between the two."""
        earliest, latest = self.bounds(now)
        return latest - earliest

    def surely(self, epoch: float) -> float:
        """The monotonic moment from which on the server's clock surely shows `epoch` or later."""
        return self.at + (epoch - self.at - self.low) / (1 - DRIFT)

    def perhaps(self, epoch: float) -> float:
        """The monotonic moment from which on the server's clock may show `epoch`."""
        return self.at + (epoch - self.at - self.high) / (1 + DRIFT)

    def next_tick(self, now: float) -> float:
        """The next moment at which the server's second changes, if the offset is the middle of the interval."""
        middle = (self.low + self.high) / 2
        return math.floor(now + middle) + 1 - middle

    def dated(self, date: int, sent: float, received: float) -> ServerClock:
        """The clock after an answer with a Date."""
        return self.within(date, date + 1 + STALE, sent, received)

    def within(self, earliest: float, latest: float, sent: float, received: float) -> ServerClock:
        """The clock after an answer that shows: at some moment in [sent, received] it stood in [earliest, latest]."""
        low, high = earliest - received, latest - sent
        if self.heard:
            doubt = self._drift(received)
            cut = max(low, self.low - doubt), min(high, self.high + doubt)
            if cut[0] <= cut[1]:
                low, high = cut
        return ServerClock(low, high, received, heard=True)

    def _drift(self, now: float) -> float:
        return DRIFT * max(0.0, now - self.at)
