"""429s that are not the quota's: a gateway's limit on bursts, and stray ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from tests.support.window_server import WindowServer
from tests.unit.test_throttle import ThrottleRig


@dataclass
class Gateway(WindowServer):
    """A gateway in front of the API: refuses by the second, or now and then."""

    per_second: int = 1_000_000
    stray: float = 0.0  # share of requests
    with_headers: bool = True  # of the API, on the gateway's refusals
    seconds: Counter[int] = field(default_factory=Counter)
    gateway_refused: int = 0
    random: Random = field(default_factory=lambda: Random(1))  # noqa: S311 - no secret

    def count(self, now: float, who: str = "us") -> tuple[int, dict[str, str]]:
        second = int(self.clock(now))
        if self.seconds[second] >= self.per_second or self.random.random() < self.stray:
            self.gateway_refused += 1
            index = self.index(now)
            left = self.limit - self.counts[index, who]
            headers = {"x-ratelimit-remaining": str(left), "x-ratelimit-reset": str((index + 1) * self.window)}
            return 429, headers if self.with_headers else {}
        self.seconds[second] += 1
        return super().count(now, who)


@pytest.mark.parametrize("with_headers", [True, False])
@pytest.mark.parametrize(("limit", "window"), [(150, 900), (100, 20)])
@pytest.mark.parametrize("rate", [20, 500])
def test_behind_a_limit_on_bursts_windows_are_used(limit: int, window: int, rate: float, *, with_headers: bool) -> None:
    server = Gateway(limit=limit, window=window, per_second=8, with_headers=with_headers)
    rig = ThrottleRig(server, rate=rate)
    rig.run(rig.send(4 * limit))
    full = sorted(number for (_, who), number in server.counts.items() if who == "us")[1:]
    assert server.most() <= limit
    assert sum(full[-3:]) >= 0.95 * 3 * limit
    assert server.gateway_refused <= 0.1 * 4 * limit


@pytest.mark.parametrize("with_headers", [True, False])
def test_stray_refusals_cost_at_most_a_twentieth_of_the_windows(*, with_headers: bool) -> None:
    server = Gateway(limit=150, window=900, stray=0.03, with_headers=with_headers)
    rig = ThrottleRig(server, rate=20)
    rig.run(rig.send(20 * 150))
    assert server.gateway_refused > 0
    assert rig.loop.time() <= 1.05 * 20 * 900
