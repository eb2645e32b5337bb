"""The quota follows the server's clock: no request is refused, whatever time that clock has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date

import pytest

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options, ResetStyle
from harvester.simulator.world import World
from tests.acceptance.conftest import Install
from tests.support.process import Installation, Running, configuration
from tests.support.simulation import refused_per_window, serving_in_thread
from tests.support.truth import Wanted, assert_harvested

LIMIT, WINDOW = 20, 3
HOUR = 3600.0
WORLD = World()
PHONES = tuple(f"8005550{number:03}" for number in range(84))
BACKFILL = ("backfill", "--start", "2024-01-01", "--end", "2024-01-31", "--json")
WANTED = Wanted(date(2024, 1, 1), date(2024, 1, 31), (Period.DAY,), PHONES, world=WORLD)
CLOCKS = {"ahead": 2.4, "behind": -2.4, "hours ahead": 5.5 * HOUR + 1.3, "hours behind": -7 * HOUR - 0.4}
SERVER = Options(limit=LIMIT, window=WINDOW, latency=0.02)


@dataclass(frozen=True, slots=True)
class RunningBackfill:
    """Backfill from a server whose clock differs from the host's."""

    running: Running
    api: SimulatedApi
    url: str


@pytest.fixture(scope="module", autouse=True)
def backfills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunningBackfill]]:
    """One backfill per clock, all at the same time: each of them waits most of the time."""
    with ExitStack() as stack:
        found = {}
        for name, offset in CLOCKS.items():
            home = tmp_path_factory.mktemp("clock")
            api = SimulatedApi([Account(world=WORLD)], replace(SERVER, clock_offset=offset))
            base_url, url = stack.enter_context(serving_in_thread(api)), f"sqlite:///{home}/store.db"
            tables = configuration(base_url, url, limit=LIMIT, window=WINDOW, phones=list(PHONES))
            running = stack.enter_context(Installation(home, tables).started(*BACKFILL))
            found[name] = RunningBackfill(running, api, url)
        yield found


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_different_clock_costs_no_refused_request(clock: str, backfills: dict[str, RunningBackfill]) -> None:
    api = backfills[clock].api
    ended = backfills[clock].running.ended()
    windows = api.requests_per_window()

    assert ended.code == 0
    assert ended.result["rate_limited"] == 0
    assert not any(refused_per_window(api).values())
    assert sum(windows.values()) == ended.result["requests"] == len(PHONES)
    assert max(windows.values()) == LIMIT  # and no request of it is unused
    assert len(windows) <= len(PHONES) // LIMIT + 2
    assert_harvested(backfills[clock].url, WANTED)


def test_a_wrong_limit_in_the_configuration_is_corrected_by_the_headers(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([Account(world=WORLD)], SERVER)
    harvester = install(api, sqlite_url, limit=150, window=900, phones=list(PHONES[:50]))
    ended = harvester.run(*BACKFILL)

    assert (ended.code, ended.result["rate_limited"]) == (0, 0)
    assert max(api.requests_per_window().values()) <= LIMIT


def test_without_headers_the_configured_quota_applies(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([Account(world=WORLD)], replace(SERVER, reset_style=ResetStyle.ABSENT))
    ended = install(api, sqlite_url, phones=list(PHONES[:50])).run(*BACKFILL)

    assert (ended.code, ended.result["rate_limited"]) == (0, 0)
    assert max(api.requests_per_window().values()) <= LIMIT


def test_the_reserve_is_left_to_other_clients(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([Account(world=WORLD)], replace(SERVER, neighbour=8))
    harvester = install(api, sqlite_url, phones=list(PHONES[:30]))
    harvester.configure("quota", reserve=10)
    ended = harvester.run(*BACKFILL)

    assert ended.code == 0
    assert max(api.requests_per_window().values()) <= LIMIT - 10
    assert sum(api.requests_per_window().values()) == 30
