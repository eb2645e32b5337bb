"""Requests per second that the API accepts, learnt from 429s that come although the quota is not spent.

A gateway in front of the API may limit bursts. It states no rate, so the pace is learnt: a refusal that follows another
one within `NEAR` seconds lowers it to a little less than what was accepted in the second before; every accepted request
raises it again, by a larger step while it is far from the rate of the last refusal. A single refusal changes nothing,
because 3 % of stray 429s are no reason to work at half the speed.

Invariant: `slowest` <= rate <= `fastest`. At `slowest` the window's limit is just used up by its end.
"""

import math
from collections import deque

NEAR = 10.0  # seconds within which a second refusal confirms the first
SECOND = 1.0  # seconds over which accepted requests are counted
LOWER = 0.9  # of what was accepted
RAISE = 1.005  # per accepted request near the rate that was refused
RAISE_FAR = 1.03  # the same far below it
FAR = 0.85  # of the refused rate: below it the pace is far from it


class Pace:
    """Requests per second at present. `now` is in monotonic seconds.

    Args:
        fastest: requests per second that are never exceeded.
    """

    def __init__(self, fastest: float = math.inf) -> None:
        self.rate = fastest
        self._fastest = fastest
        self._refused_rate = fastest
        self._accepted: deque[float] = deque()
        self._refused_at = -math.inf
        self._lowered_at = -math.inf

    def accepted(self, now: float) -> None:
        """Note an accepted request: raise the pace a little."""
        self._accepted.append(now)
        self._forget(now)
        step = RAISE_FAR if self.rate < FAR * self._refused_rate else RAISE
        self.rate = min(self._fastest, self.rate * step)

    def refused(self, sent: float, now: float, slowest: float) -> None:
        """Note a 429 that was not the quota's, for a request sent at `sent`.

        Args:
            sent: monotonic seconds; a request sent before the pace was lowered last shows nothing about it.
            now: monotonic seconds.
            slowest: requests per second below which the pace is not lowered.
        """
        if sent <= self._lowered_at:
            return
        confirmed = now - self._refused_at < NEAR
        self._refused_at = now
        if not confirmed:
            return
        self._forget(now)
        self._refused_rate = min(self.rate, max(1.0, len(self._accepted) / SECOND))
        self.rate = max(min(slowest, self._fastest), LOWER * self._refused_rate)
        self._lowered_at = now

    def _forget(self, now: float) -> None:
        while self._accepted and self._accepted[0] <= now - 2 * SECOND:
            self._accepted.popleft()
