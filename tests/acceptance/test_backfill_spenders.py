"""The limit of a login holds for all who use it, whatever they call it and whatever becomes of their locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.acceptance.test_backfill_accounts import BACKFILL, DAYS
from tests.support.process import Installation, configuration
from tests.support.simulation import refused_per_window, serving_in_thread
from tests.support.truth import Wanted, assert_harvested

LIMIT, WINDOW = 3, 4
PHONES = [f"80055502{number:02}" for number in range(10)]


@pytest.fixture
def api() -> SimulatedApi:
    return SimulatedApi([Account(world=World())], Options(limit=LIMIT, window=WINDOW))


@pytest.fixture
def base_url(api: SimulatedApi) -> Iterator[str]:
    with serving_in_thread(api) as url:
        yield url


def installed(home: Path, base_url: str, database: str, name: str, phones: list[str]) -> Installation:
    home.mkdir()
    account = {"phones": phones}
    tables = configuration(base_url, database, limit=LIMIT, window=WINDOW, accounts={name: account})
    return Installation(home, tables)


def test_two_configurations_that_name_a_login_differently(
    store_url: str, api: SimulatedApi, base_url: str, tmp_path: Path
) -> None:
    one = installed(tmp_path / "one", base_url, store_url, "main", PHONES[:8])
    other = installed(tmp_path / "other", base_url, store_url, "second", PHONES[8:])
    with one.started(*BACKFILL) as first:
        first.until(lambda: sum(api.requests_per_window().values()) >= 1)
        with other.started(*BACKFILL) as second:
            second.until(lambda: str(first.pid) in second.err)
            assert first.ended().code == 0
            assert "as account main, which has the same login" in second.err
            assert second.ended().code == 0
    assert max(api.requests_per_window().values()) <= LIMIT
    assert not refused_per_window(api)
    assert sum(api.requests_per_window().values()) == len(PHONES)


def test_the_lock_files_are_deleted_under_a_backfill(
    sqlite_url: str, api: SimulatedApi, base_url: str, tmp_path: Path
) -> None:
    one, other = (installed(tmp_path / name, base_url, sqlite_url, "main", PHONES) for name in ("one", "other"))
    with ExitStack() as stack:
        first = stack.enter_context(one.started(*BACKFILL))
        first.until(lambda: sum(api.requests_per_window().values()) >= 1)
        for lock in tmp_path.glob("store.db.*.lock"):
            lock.unlink()
        second = stack.enter_context(other.started(*BACKFILL))
        ended = [first.ended(), second.ended()]
    assert [one.code for one in ended] == [0, 0]
    assert not any("UNIQUE" in one.err or "Traceback" in one.err for one in ended)
    assert max(api.requests_per_window().values()) <= LIMIT
    assert not refused_per_window(api)
    world = World()
    assert_harvested(sqlite_url, Wanted(*DAYS, (Period.DAY,), tuple(PHONES), world=world))
