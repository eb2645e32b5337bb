"""Quota of one account: fixed windows at the multiples of their length on the server's clock.

A request that is refused with 429 does not count. Another client may spend from the same quota, at moments drawn from
the seed; the allowance that a request finds depends on how many of these moments have passed.

Tests check invariants against the counts in `Window`, never against the client's own.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from harvester.simulator.chance import numbers


@dataclass(slots=True)
class Window:
    """Counts of one window.

    `sent` counts all requests of the client except the refused ones. It includes those that a proxy answered and that
    cost nothing, because the client cannot know that. `refused` counts its 429s.
    """

    start: int  # epoch second of the server's clock
    charged: int = 0
    sent: int = 0
    refused: int = 0
    neighbour: int = 0  # spent by another client
    neighbour_seen: int = 0  # drawn requests of the other client until now, refused ones included


class Meter:
    """Quota as a state machine over the server's time. A stepped clock may return to an earlier window."""

    def __init__(self, limit: int, window: int, *, neighbour: int = 0, key: tuple[object, ...] = ()) -> None:
        self.limit = limit
        self.length = window
        self.windows: dict[int, Window] = {}
        self._neighbour = neighbour
        self._key = key
        self._moments: tuple[int, list[float]] = (-1, [])

    def charge(self, at: float) -> bool:
        """Count one request of the client; return False if the limit is reached."""
        window = self.window(at)
        if window.charged + window.neighbour >= self.limit:
            window.refused += 1
            return False
        window.charged += 1
        window.sent += 1
        return True

    def spend(self, count: int, at: float) -> int:
        """Spend up to `count` requests as another client, and return how many were available."""
        window = self.window(at)
        spent = min(count, self.remaining(at))
        window.neighbour += spent
        return spent

    def remaining(self, at: float) -> int:
        """Return the number of requests left in the window."""
        window = self.window(at)
        return self.limit - window.charged - window.neighbour

    def reset(self, at: float) -> int:
        """Return the epoch second at which the window ends."""
        return self._start(at) + self.length

    def window(self, at: float) -> Window:
        """Return the counts of the window at this moment."""
        start = self._start(at)
        window = self.windows.get(start)
        if window is None:
            window = self.windows[start] = Window(start)
        if self._neighbour:
            passed = bisect_right(self._neighbour_moments(start), at)
            new = max(0, passed - window.neighbour_seen)
            window.neighbour_seen += new
            window.neighbour += min(new, self.limit - window.charged - window.neighbour)
        return window

    def _start(self, at: float) -> int:
        return int(at // self.length) * self.length

    def _neighbour_moments(self, start: int) -> list[float]:
        if self._moments[0] != start:
            draws = numbers(self._neighbour, "neighbour", *self._key, start)
            self._moments = (start, sorted(start + draw * self.length for draw in draws))
        return self._moments[1]
