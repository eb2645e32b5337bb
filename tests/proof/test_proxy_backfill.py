"""The whole harvester behind a network with faults: everything is stored, or the missing slices are reported.

After each run: the table equals the simulated figures, value by value; no window of the server counted more than the
limit; the harvester counted at least as many requests as the server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import pytest

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.fault_proxy import (
    Bandwidth,
    FaultProxy,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
    proxied,
)
from tests.support.process import Ended, Installation, Running, configuration
from tests.support.simulation import serving_in_thread
from tests.support.truth import Wanted, assert_harvested, stored_rows

WORLD = World()
PHONES = tuple(f"80055501{number:02}" for number in range(6))
DAYS = (date(2024, 1, 1), date(2024, 12, 31))
BACKFILL = ("backfill", "--start", "2024-01-01", "--end", "2024-12-31", "--json")
WANTED = Wanted(*DAYS, (Period.DAY,), PHONES, world=WORLD)
SLICES = len(PHONES) * 4
LIMIT = 20
REQUEST_TIMEOUT = 1.0  # seconds
METRICS = 6
NARROW = LimitData(count=2_500)
SEED = 2

NETWORKS: dict[str, tuple[Toxic, ...]] = {
    "slow": (
        Latency(seconds=0.1, jitter=0.1),
        Bandwidth(rate=200_000),
        Slicer(average_size=500, size_variation=400, delay=0.001),
        Latency(seconds=0.05, upstream=True),
        Bandwidth(rate=20_000, upstream=True),
        Slicer(average_size=7, upstream=True),
    ),
    "slow_close": (SlowClose(seconds=0.3), LimitData(count=40_000)),
    "timeout": (Timeout(seconds=0.3, toxicity=0.5), Timeout(toxicity=0.2, upstream=True)),
    "reset_peer": (ResetPeer(toxicity=0.3), ResetPeer(seconds=0.05, toxicity=0.2, upstream=True)),
    "limit_data": (
        LimitData(count=700, toxicity=0.2),
        LimitData(count=9_000, toxicity=0.4),
        LimitData(count=700, toxicity=0.4, upstream=True),
    ),
    "mixed": (
        Latency(seconds=0.02, jitter=0.02),
        Bandwidth(rate=400_000, toxicity=0.5),
        Slicer(average_size=1500, size_variation=1000, toxicity=0.5),
        LimitData(count=12_000, toxicity=0.3),
        ResetPeer(toxicity=0.1),
        Timeout(seconds=0.2, toxicity=0.1, upstream=True),
    ),
}


class Network:
    """Simulator, a proxy in front of it, and a harvester that is configured with the proxy."""

    def __init__(self, home: Path, proxy: FaultProxy, url: str, api: SimulatedApi) -> None:
        self.proxy = proxy
        self.api = api
        self.database = f"sqlite:///{home}/store.db"
        self.harvester = Installation(
            home,
            configuration(
                url,
                self.database,
                limit=LIMIT,
                window=2,
                phones=list(PHONES),
                api={"max_days_per_request": 100, "timeout": REQUEST_TIMEOUT},
            ),
        )

    def assert_complete_or_reported(self, ended: Ended) -> None:
        """Check that everything is stored, or that failed slices were reported and a second run stores them."""
        result = ended.result
        assert ended.code == (3 if result["failed"] else 0), ended.err
        assert result["slices"]["done"] + result["slices"]["failed"] >= SLICES
        if result["failed"]:
            self.proxy.heal()
            second = self.harvester.run(*BACKFILL)
            assert second.code == 0, second.err
        assert_harvested(self.database, WANTED)
        assert max(self.api.requests_per_window().values()) <= LIMIT


@contextmanager
def networked(home: Path) -> Iterator[Network]:
    api = SimulatedApi([Account(world=WORLD)], Options(limit=LIMIT, window=2))
    with serving_in_thread(api) as url, proxied(url, seed=SEED) as (proxy, proxy_url):
        yield Network(home, proxy, proxy_url, api)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Network, Running]]]:
    """Yield a running backfill for each network; they run side by side, because they mostly wait."""
    with ExitStack() as stack:
        found = {}
        for name, toxics in {**NETWORKS, "narrow": (NARROW,)}.items():
            network = stack.enter_context(networked(tmp_path_factory.mktemp(name)))
            network.proxy.add(*toxics)
            found[name] = network, stack.enter_context(network.harvester.started(*BACKFILL))
        yield found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_backfill_through_a_bad_network(name: str, begun: dict[str, tuple[Network, Running]]) -> None:
    network, running = begun[name]
    ended = running.ended()
    assert ended.result["requests"] >= sum(network.api.requests_per_window().values())
    network.assert_complete_or_reported(ended)
    applied = network.proxy.applied & set(NETWORKS[name])
    assert len(applied) >= max(1, len(NETWORKS[name]) // 2)  # otherwise the test proves nothing


def test_a_network_that_is_interrupted_twice(tmp_path: Path) -> None:
    """The connection is interrupted twice during a run, once silently and once with resets."""
    with networked(tmp_path) as network, network.harvester.started(*BACKFILL) as running:
        for toxic in (Timeout(), ResetPeer()):
            before = network.api.total
            running.until(lambda before=before: network.api.total > before + 2)  # type: ignore[misc]
            network.proxy.add(toxic)
            running.until(lambda toxic=toxic: toxic in network.proxy.applied)  # type: ignore[misc]
            network.proxy.remove(toxic)
        network.assert_complete_or_reported(running.ended())


def test_answers_that_are_always_cut_are_reported_as_failed(
    begun: dict[str, tuple[Network, Running]],
) -> None:
    """Every answer of more than a few days is cut: no part of one is stored as a whole."""
    network, running = begun["narrow"]
    ended = running.ended()
    assert ended.code in {3, 69}, ended.err
    reported = ended.result["failed"]
    assert len(reported) == ended.result["slices"]["failed"]
    assert (ended.result["error"] is None) == (ended.code == 3)
    assert stored_rows(network.database) <= WANTED.rows()  # nothing else is stored
    assert all(complete_days(network.database).values())
    assert max(network.api.requests_per_window().values()) <= LIMIT


def complete_days(database: str) -> dict[tuple[str, int], bool]:
    """Return for each phone and day whether all metrics are stored."""
    found = Counter((row[2], row[4]) for row in stored_rows(database))
    return {day: count == METRICS for day, count in found.items()}
