"""Estimate of the server's clock from its answers: monotonic time plus an offset that is known to an interval.

An answer with Date D that was requested at s and received at r (monotonic) was made between s and r, while the server's
clock showed a moment in [D, D + 1). So the offset lies in (D - r, D + 1 - s). The interval of each answer is
intersected with the previous one, widened by DRIFT for the time since. An empty intersection means that a clock was
stepped or the host was suspended: then only the newest answer counts.

The quota waits by the low end, which holds even if a server reuses a Date. The high end does not, hence MAX_DATE_AGE.

Rejected: a point estimate with a filter (closer on average, but wrong by an unknown amount on either side, and entering
a window early costs a 429); never widening the interval (measured: at 50 ppm of drift nearly every roll was early).
"""

from dataclasses import dataclass, replace
from typing import Self

DRIFT = 200e-6  # seconds per second by which two clocks may diverge: four times a bad quartz
MAX_DATE_AGE = 0.05  # seconds by which a server may reuse a Date


@dataclass(frozen=True, slots=True)
class ServerClock:
    """Server's epoch seconds minus monotonic seconds: within [low, high] at the monotonic moment `at`.

    `measured` is False while the interval is a guess (from the host's clock): the first answer replaces it entirely.
    """

    low: float
    high: float
    at: float
    measured: bool = False

    def bounds(self, now: float) -> tuple[float, float]:
        """Return the earliest and the latest epoch second that the server's clock can show now."""
        drift = self._drift(now)
        return now + self.low - drift, now + self.high + drift

    def certain_from(self, epoch: float) -> float:
        """Return the monotonic moment from which the server's clock certainly shows `epoch` or later."""
        return self.at + (epoch - self.at - self.low) / (1 - DRIFT)

    def possible_from(self, epoch: float) -> float:
        """Return the monotonic moment from which the server's clock may show `epoch`."""
        return self.at + (epoch - self.at - self.high) / (1 + DRIFT)

    def dated(self, date: int, sent: float, received: float) -> Self:
        """Return the clock after an answer with a Date."""
        return self.within(date, date + 1 + MAX_DATE_AGE, sent, received)

    def within(self, earliest: float, latest: float, sent: float, received: float) -> Self:
        """Return the clock after an answer proves that at some moment in [sent, received] it showed that interval."""
        low, high = earliest - received, latest - sent
        if self.measured:
            drift = self._drift(received)
            both = max(low, self.low - drift), min(high, self.high + drift)
            if both[0] <= both[1]:
                low, high = both
        return replace(self, low=low, high=high, at=received, measured=True)

    def _drift(self, now: float) -> float:
        return DRIFT * max(0.0, now - self.at)
