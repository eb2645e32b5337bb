"""Daemons killed at every place on the way of an answer into the database: the next one goes on, and all is kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.core.period import Period
from harvester.failpoints import PLACES
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.daemon import account_of, assert_complete, calendar_at_noon, daemon, past_of, prepared
from tests.support.deaths import AT_THE_END, KINDS, Deaths, at_all_places, failpoint
from tests.support.postgres import Cluster
from tests.support.process import PATIENCE, Installation, configuration
from tests.support.simulation import refused_per_window, serving_in_thread
from tests.support.truth import Wanted

CALENDAR = calendar_at_noon()
WORLD = World(calendar=CALENDAR)
PHONES = tuple(f"80055501{number:02}" for number in range(4))
DAYS = 300
WANTED = Wanted(*past_of(CALENDAR, DAYS), (Period.DAY,), PHONES, world=WORLD)
WIDTH = 92  # days a request
SLICES = len(PHONES) * 4
CONCURRENCY = 2
LIMIT, WINDOW = 20, 2
PASSAGES = (1, 2)
AT_ONCE = 4

pytestmark = pytest.mark.slow


def sent(api: SimulatedApi) -> int:
    return sum(api.requests_per_window().values())


def killed_at(place: str, home: Path, database: str) -> None:
    options = Options(limit=LIMIT, window=WINDOW, latency=0.01, auth_limit=1000)
    api = SimulatedApi([Account(world=WORLD)], options)
    narrow = {"max_days_per_request": WIDTH, "concurrency": CONCURRENCY}
    with serving_in_thread(api) as url:
        account = account_of(CALENDAR, DAYS, phones=list(PHONES))
        tables = configuration(url, database, limit=LIMIT, window=WINDOW, api=narrow, **account)
        harvester = prepared(Installation(home, tables))
        passages = PASSAGES[:1] if place in AT_THE_END else PASSAGES
        for number in passages:
            with daemon(harvester, wait=False, _HARVESTER_FAILPOINT=failpoint(place, number)) as dying:
                if place in AT_THE_END:
                    dying.until(lambda: sent(api) >= SLICES)
                    dying.running.signal(signal.SIGTERM)
                assert dying.running.ended(within=PATIENCE).code == -signal.SIGKILL
        with daemon(harvester) as run:
            run.until_idle()
            assert not run.events("bug")
        assert_complete(database, WANTED)
        assert max(api.requests_per_window().values()) <= LIMIT
        assert not any(refused_per_window(api).values())
        # Each start asks for what is not settled once more.
        assert sent(api) <= SLICES + len(passages) * (2 * CONCURRENCY + len(PHONES))


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory, postgres: Cluster) -> Iterator[Deaths]:
    with at_all_places(killed_at, tmp_path_factory.mktemp, postgres, at_once=AT_ONCE) as found:
        yield found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_a_daemon_killed_there_is_gone_on_from(place: str, kind: str, deaths: Deaths) -> None:
    deaths[place, kind].result()
