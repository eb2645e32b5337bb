"""What the daemon lives through: nobody answers, the database goes away, the disk is full, it is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.daemon import (
    Daemon,
    account_of,
    assert_kept,
    calendar_at_noon,
    daemon,
    past_of,
    prepared,
)
from tests.support.databases import query
from tests.support.postgres import running_cluster
from tests.support.process import Installation, configuration
from tests.support.simulation import serving_in_thread
from tests.support.small_disk import small_disk
from tests.support.truth import Wanted

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install

CALENDAR = calendar_at_noon()
WORLD = World(calendar=CALENDAR)
PHONES = tuple(f"80055501{number:02}" for number in range(20))
DAYS = 100
CONCURRENCY = 8  # the default
WANTED = Wanted(*past_of(CALENDAR, DAYS), (Period.DAY,), PHONES, world=WORLD)


def served(**options: Any) -> SimulatedApi:
    return SimulatedApi([Account(world=WORLD)], Options(**options))


def sent(api: SimulatedApi) -> int:
    return sum(api.requests_per_window().values())


def account(**settings: Any) -> dict[str, Any]:
    return account_of(CALENDAR, DAYS, phones=list(PHONES), **settings)


def assert_within_quota(api: SimulatedApi) -> None:
    assert max(api.requests_per_window().values()) <= api.options.limit
    assert not any(api.refused_per_window().values())


def assert_quiet(run: Daemon) -> None:
    """No trouble is told of more than once a minute, and nothing fills the log."""
    troubles = Counter(
        (event["event"], event.get("account")) for event in run.events() if event["level"] in ("warning", "error")
    )
    assert troubles
    assert max(troubles.values()) == 1, troubles
    assert not run.events("bug")
    lines = Counter(event["event"] for event in run.events())
    assert lines["claimed"] == 1, lines
    assert lines["round"] <= 4, lines


# The API


def test_an_api_that_goes_away_is_waited_for(sqlite_url: str, tmp_path: Path) -> None:
    api = served(limit=6, window=2)
    with serving_in_thread(api) as url:
        harvester = prepared(Installation(tmp_path, configuration(url, sqlite_url, limit=6, window=2, **account())))
        stack = contextlib.ExitStack()
        run = stack.enter_context(daemon(harvester))
        run.until(lambda: sent(api) >= 6)
    with stack:
        run.until(lambda: run.metric("harvester_account_up", account="main") == 0)
        assert "cannot be reached" in run.reason()
        assert run.readiness()[0] == 200  # nothing that a restart or an administrator could mend
        # It is left in the database, for whoever asks there.
        run.until(lambda: "cannot be reached" in (told(harvester)["reason"] or ""), within=30.0)
        assert told(harvester)["state"] == "waiting"
        assert "unreachable" in run.manager.last("STATUS")
        before = sent(api)
        with serving_in_thread(api, urlsplit(url).port or 0):
            run.until_idle()
        assert sent(api) > before
        assert query(sqlite_url, "SELECT count(*) FROM failed_slice") == [(0,)]
        assert run.metric("harvester_account_up", account="main") == 1
        run.until(lambda: told(harvester)["state"] == "ok")  # once the window is over, too
        assert_quiet(run)
        assert_kept(sqlite_url, WANTED)
        assert_within_quota(api)


def told(harvester: Installation) -> dict[str, Any]:
    (found,) = harvester.run("status", "--json").result["accounts"]
    assert isinstance(found, dict)
    return found


def test_an_api_that_is_not_there_at_the_start_is_waited_for(sqlite_url: str, tmp_path: Path) -> None:
    api = served()
    with serving_in_thread(api) as url:
        pass
    harvester = prepared(Installation(tmp_path, configuration(url, sqlite_url, **account())))
    with daemon(harvester) as run:
        run.until(lambda: bool(run.events("no_credentials")))
        run.until(lambda: "cannot be reached" in (run.reason("main") or ""))
        assert run.metric("harvester_account_up", account="main") == 0
        assert run.ask("/healthz")[0] == 200
        with serving_in_thread(api, urlsplit(url).port or 0):
            run.until_idle()
        assert_quiet(run)
        assert_kept(sqlite_url, WANTED)


# The database


def test_a_database_that_goes_away_is_noticed_and_gone_on_with(install: Install) -> None:
    api = served(limit=6, window=2)
    with running_cluster() as cluster, cluster.database() as url:
        harvester = prepared(install(api, url, **account()))
        with daemon(harvester) as run:
            run.until(lambda: sent(api) >= 4)
            cluster.stop()
            run.until_state("no database")
            assert run.readiness()[0] == 503
            before = sent(api)
            time.sleep(2.5)
            assert sent(api) == before  # nothing is fetched that could not be stored
            cluster.start()
            run.until_idle()
            # What was fetched and could not be stored is asked for again.
            assert sent(api) <= len(PHONES) + 2 * CONCURRENCY
            assert_within_quota(api)
            assert_kept(url, WANTED)

            cluster.stop()  # while there is nothing to do
            run.until(lambda: run.readiness()[0] == 503, within=15.0)
            cluster.start()
            run.until_idle()
            assert run.readiness()[0] == 200
            assert len(run.events("database_back")) == 2
            assert_quiet(run)


def test_a_full_disk_is_told_of_and_waited_for(tmp_path: Path, install: Install) -> None:
    api = served(limit=40, window=2)
    with small_disk(tmp_path / "disk", "1200k") as disk:
        url = f"sqlite:///{disk}/store.db"
        ballast = disk / "ballast"
        harvester = prepared(install(api, url, **account()))
        assert harvester.run("migrate").code == 0
        ballast.touch()
        with contextlib.suppress(OSError):
            while True:
                with ballast.open("ab") as file:
                    file.write(bytes(4096))
        os.truncate(ballast, ballast.stat().st_size - 200_000)
        with daemon(harvester) as run:
            run.until_state("no database")
            assert run.readiness()[0] == 503
            assert "full" in run.reason()
            before = sent(api)
            time.sleep(4.0)
            assert sent(api) - before <= CONCURRENCY  # not a window after the other for nothing
            assert_quiet(run)
            ballast.unlink()
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            run.until_idle()
            assert run.readiness()[0] == 200
            assert_kept(url, WANTED)
            assert_within_quota(api)
            run.running.signal(signal.SIGTERM)
            assert run.running.ended(within=10.0).code == 0


# The process


def test_a_kill_in_the_middle_costs_little_and_loses_nothing(store_url: str, install: Install) -> None:
    api = served(limit=25, window=2, latency=0.02, jitter=0.05)
    harvester = prepared(install(api, store_url, **account()))
    for enough in (3, 11):
        with daemon(harvester) as run:
            run.until(lambda enough=enough: sent(api) >= enough)  # type: ignore[misc]
            run.running.kill()
    with daemon(harvester) as run:
        run.until_idle()
    assert_kept(store_url, WANTED)
    # The server counts for all processes together.
    assert_within_quota(api)
    again = [count - 1 for path, count in api.visits.items() if path.startswith("/performance")]
    assert sum(again) <= 2 * 2 * CONCURRENCY + len(PHONES)  # each start asks for what is not settled once more
