"""Model server of the quota tests: counts requests in fixed windows by its own clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate

EPOCH = 1_700_000_100.0  # a multiple of 900


@dataclass
class WindowServer:
    """Counter of requests; its clock is `ahead` seconds ahead of the host's at the start and gains `drift` s/s."""

    limit: int = 150
    window: int = 900
    ahead: float = 0.0
    drift: float = 0.0
    epoch: float = EPOCH
    names_reset: bool = True
    names_remaining: bool = True
    dates: bool = True
    date_ahead: float = 0.0  # of the clock that counts: another machine writes the Date
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    refused: list[tuple[float, str]] = field(default_factory=list)

    def clock(self, now: float) -> float:
        """Return the server's epoch seconds at a moment of true (monotonic) time."""
        return self.epoch + self.ahead + now * (1 + self.drift)

    def moment(self, epoch: float) -> float:
        """Return the true time at which the server's clock shows `epoch`."""
        return (epoch - self.epoch - self.ahead) / (1 + self.drift)

    def index(self, now: float) -> int:
        return int(self.clock(now) // self.window)

    def next_roll(self, now: float) -> float:
        return self.moment((self.index(now) + 1) * self.window)

    def count(self, now: float, who: str = "us") -> tuple[int, dict[str, str]]:
        """Count a request and return its answer: status and headers."""
        index = self.index(now)
        used = sum(number for (window, _), number in self.counts.items() if window == index)
        headers = {"x-ratelimit-limit": str(self.limit)}
        if used < self.limit:
            self.counts[index, who] += 1
            status, used = 200, used + 1
        else:
            self.refused.append((now, who))
            status = 429
        if self.names_reset:
            headers["x-ratelimit-reset"] = str((index + 1) * self.window)
        if self.names_remaining:
            headers["x-ratelimit-remaining"] = str(self.limit - used)
        if self.dates:
            headers["date"] = formatdate(int(self.clock(now) + self.date_ahead), usegmt=True)
        return status, headers

    def most(self, who: str = "us") -> int:
        """Return the largest count of one window."""
        return max((number for (_, name), number in self.counts.items() if name == who), default=0)

    def total(self, who: str = "us") -> int:
        return sum(number for (_, name), number in self.counts.items() if name == who)
