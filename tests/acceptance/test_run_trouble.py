"""The daemon survives an unreachable API, a lost database, a full disk and a kill."""

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
    assert_complete,
    calendar_at_noon,
    daemon,
    past_of,
    prepared,
)
from tests.support.databases import query
from tests.support.postgres import running_cluster
from tests.support.process import Installation, configuration
from tests.support.simulation import refused_per_window, serving_in_thread
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
    assert not any(refused_per_window(api).values())


def assert_quiet(run: Daemon) -> None:
    """No problem is logged more than once a minute, and nothing fills the log."""
    problems = Counter(
        (event["event"], event.get("account")) for event in run.events() if event["level"] in ("warning", "error")
    )
    assert problems
    assert max(problems.values()) == 1, problems
    assert not run.events("bug")
    lines = Counter(event["event"] for event in run.events())
    assert lines["claimed"] == 1, lines
    assert lines["round"] <= 4, lines


# The API


def test_an_api_that_becomes_unreachable_is_waited_for(sqlite_url: str, tmp_path: Path) -> None:
    api = served(limit=6, window=2)
    with serving_in_thread(api) as url:
        harvester = prepared(Installation(tmp_path, configuration(url, sqlite_url, limit=6, window=2, **account())))
        stack = contextlib.ExitStack()
        run = stack.enter_context(daemon(harvester))
        run.until(lambda: sent(api) >= 6)
    with stack:
        run.until(lambda: run.metric("harvester_account_up", account="main") == 0)
        assert "cannot be reached" in run.reason()
        assert run.readiness()[0] == 200  # neither a restart nor an administrator could help
        # The reason is recorded in the database, for `status`.
        run.until(lambda: "cannot be reached" in (account_status(harvester)["reason"] or ""), within=30.0)
        assert account_status(harvester)["state"] == "waiting"
        assert "unreachable" in run.manager.last("STATUS")
        before = sent(api)
        with serving_in_thread(api, urlsplit(url).port or 0):
            run.until_idle()
        assert sent(api) > before
        assert query(sqlite_url, "SELECT count(*) FROM failed_slice") == [(0,)]
        assert run.metric("harvester_account_up", account="main") == 1
        run.until(lambda: account_status(harvester)["state"] == "ok")  # when the window has ended
        assert_quiet(run)
        assert_complete(sqlite_url, WANTED)
        assert_within_quota(api)


def account_status(harvester: Installation) -> dict[str, Any]:
    (found,) = harvester.run("status", "--json").result["accounts"]
    assert isinstance(found, dict)
    return found


def test_an_api_that_is_unreachable_at_the_start_is_waited_for(sqlite_url: str, tmp_path: Path) -> None:
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
        assert_complete(sqlite_url, WANTED)


# The database


def test_a_lost_database_is_waited_for(install: Install) -> None:
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
            # Answers that could not be stored are requested again.
            assert sent(api) <= len(PHONES) + 2 * CONCURRENCY
            assert_within_quota(api)
            assert_complete(url, WANTED)

            cluster.stop()  # while the daemon is idle
            run.until(lambda: run.readiness()[0] == 503, within=15.0)
            cluster.start()
            run.until_idle()
            assert run.readiness()[0] == 200
            assert len(run.events("database_back")) == 2
            assert_quiet(run)


def test_a_full_disk_is_reported_and_waited_for(tmp_path: Path, install: Install) -> None:
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
            assert sent(api) - before <= CONCURRENCY  # it does not spend one window after another for nothing
            assert_quiet(run)
            ballast.unlink()
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            run.until_idle()
            assert run.readiness()[0] == 200
            assert_complete(url, WANTED)
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
    assert_complete(store_url, WANTED)
    # The server counts for all processes together.
    assert_within_quota(api)
    again = [count - 1 for path, count in api.visits.items() if path.startswith("/performance")]
    assert sum(again) <= 2 * 2 * CONCURRENCY + len(PHONES)  # each start requests provisional days once more
