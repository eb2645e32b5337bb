"""One account's quota: fixed windows on the multiples of their length, by the server's clock.

A request that is refused with 429 does not count. Somebody else may spend from the same quota, at moments that are
drawn from the seed; what a request finds left depends on how many of these moments have passed.

`Window` keeps the books that invariants are checked against; the client's own idea of them is never asked.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from harvester.simulator.chance import numbers


@dataclass(slots=True)
class Window:
    """What happened in one window.

    `sent` counts all of the client's requests but the refused ones: also those that a proxy answered and that
    therefore cost nothing, because the client cannot know that. `refused` counts its 429s.
    """

    start: int  # epoch second of the server's clock
    charged: int = 0
    sent: int = 0
    refused: int = 0
    neighbour: int = 0  # spent by somebody else
    knocked: int = 0  # of somebody else's requests at drawn moments, how many have come, refused ones included


class Meter:
    """The quota as a state machine over the server's time. A stepped clock may lead back into an old window."""

    def __init__(self, limit: int, window: int, *, neighbour: int = 0, key: tuple[object, ...] = ()) -> None:
        self.limit = limit
        self.length = window
        self.windows: dict[int, Window] = {}
        self._neighbour = neighbour
        self._key = key
        self._moments: tuple[int, list[float]] = (-1, [])

    def charge(self, at: float) -> bool:
        """Count one request of the client's; False if it is over the limit."""
        window = self.window(at)
        if window.charged + window.neighbour >= self.limit:
            window.refused += 1
            return False
        window.charged += 1
        window.sent += 1
        return True

    def spend_elsewhere(self, count: int, at: float) -> int:
        """Let somebody else spend so many requests now; returns how many were left for them."""
        window = self.window(at)
        taken = min(count, self.remaining(at))
        window.neighbour += taken
        return taken

    def remaining(self, at: float) -> int:
        """Requests left in this window."""
        window = self.window(at)
        return self.limit - window.charged - window.neighbour

    def reset(self, at: float) -> int:
        """The epoch second at which this window ends."""
        return self._start(at) + self.length

    def window(self, at: float) -> Window:
        """The books of the window that holds this moment."""
        start = self._start(at)
        window = self.windows.get(start)
        if window is None:
            window = self.windows[start] = Window(start)
        if self._neighbour:
            passed = bisect_right(self._neighbour_moments(start), at)
            fresh = max(0, passed - window.knocked)
            window.knocked += fresh
            window.neighbour += min(fresh, self.limit - window.charged - window.neighbour)
        return window

    def _start(self, at: float) -> int:
        return int(at // self.length) * self.length

    def _neighbour_moments(self, start: int) -> list[float]:
        if self._moments[0] != start:
            draws = numbers(self._neighbour, "neighbour", *self._key, start)
            self._moments = (start, sorted(start + draw * self.length for draw in draws))
        return self._moments[1]
