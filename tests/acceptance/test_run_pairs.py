"""Two daemons on one database, of which one stands by and takes over; other commands beside a daemon; `run --once`."""

from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING, Any

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.daemon import Daemon, account_of, assert_complete, calendar_at_noon, daemon, past_of, prepared
from tests.support.simulation import refused_per_window
from tests.support.truth import Wanted

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install

CALENDAR = calendar_at_noon()
WORLD = World(calendar=CALENDAR)
PHONES = tuple(f"80055501{number:02}" for number in range(30))
DAYS = 60
SUCCESS = "harvester_last_success_timestamp_seconds"
WANTED = Wanted(*past_of(CALENDAR, DAYS), (Period.DAY,), PHONES, world=WORLD)


def served(**options: Any) -> SimulatedApi:
    return SimulatedApi([Account(world=WORLD)], Options(**options))


def sent(api: SimulatedApi) -> int:
    return sum(api.requests_per_window().values())


def account(**settings: Any) -> dict[str, Any]:
    return account_of(CALENDAR, DAYS, phones=list(PHONES), **settings)


def assert_stands_by(run: Daemon, holder: Daemon) -> None:
    run.until_state("standby")
    assert run.readiness()[0] == 200
    assert run.reason() == f"held by pid {holder.pid} on {socket.gethostname()}"
    assert run.metric("harvester_account_up", account="main") == 1
    assert run.metric("harvester_account_active", account="main") == 0
    assert len(run.events("standby")) == 1


def test_the_second_takes_over_when_the_first_is_killed(store_url: str, install: Install) -> None:
    api = served(limit=10, window=3)
    harvester = prepared(install(api, store_url, **account()))
    with daemon(harvester) as first:
        first.until(lambda: sent(api) >= 1)
        with daemon(harvester) as second:
            assert_stands_by(second, first)
            first.until(lambda: sent(api) >= 5)
            first.running.kill()
            killed = time.monotonic()
            second.until(lambda: second.metric("harvester_account_active", account="main") == 1)
            assert time.monotonic() - killed < 5.0
            second.until_idle()
    assert_complete(store_url, WANTED)
    assert max(api.requests_per_window().values()) <= 10
    assert not any(refused_per_window(api).values())


def test_an_idle_daemon_hands_over_at_its_end(postgres_url: str, install: Install) -> None:
    api = served()
    harvester = prepared(install(api, postgres_url, **account()))
    with daemon(harvester) as first:
        first.until_idle()
        with daemon(harvester) as second:
            assert_stands_by(second, first)
            first.running.signal(signal.SIGTERM)
            assert first.running.ended(within=10.0).code == 0
            stopped = time.monotonic()
            second.until_idle()
            assert time.monotonic() - stopped < 5.0
            assert second.readiness()[0] == 200


# Beside a daemon


def test_status_and_check_work_beside_the_daemon(sqlite_url: str, install: Install) -> None:
    api = served()
    harvester = prepared(install(api, sqlite_url, **account()))
    with daemon(harvester) as run:
        run.until_idle()
        before = api.total

        reported = harvester.run("status", "--json", "--exit-code")
        assert reported.code == 0, reported.err
        (main,) = reported.result["accounts"]
        assert (main["state"], main["quota"]["limit"]) == ("ok", 150)
        unspent = 10  # quota is recorded before it is spent, in blocks
        assert 0 <= 150 - len(PHONES) - main["quota"]["remaining"] <= unspent
        yesterday = WANTED.last.isoformat()
        for series in main["series"]:
            assert (series["gaps"], series["failed_slices"]) == ([], 0)
            assert series["last"] >= yesterday
        assert len(main["series"]) == len(PHONES)

        checked = harvester.run("check", "--online", "--json")
        assert checked.code == 0, checked.err
        (main,) = checked.result["accounts"]
        assert (main["exit"], main["requests"]) == (0, 0)
        assert main["held_by"] == f"pid {run.pid} on {socket.gethostname()}"
        assert CALENDAR.zone.key in main["answer"]
        assert abs(main["answered_at"] - time.time()) < 60

        assert harvester.run("plan", "--start", WANTED.first.isoformat(), "--json").code == 0
        assert api.total == before  # none of these commands sent a request
        assert run.states() == {"main": "idle"}


def test_check_beside_the_daemon_reports_its_error(sqlite_url: str, install: Install) -> None:
    api = served()
    harvester = prepared(install(api, sqlite_url, **account(password="wrong")))
    with daemon(harvester) as run:
        run.until_state("paused")
        attempts = api.total
        checked = harvester.run("check", "--online", "--json")
        assert checked.code == 77, checked.out
        assert "/auth refuses" in checked.out
        assert api.total - attempts <= 1


# run --once


def test_one_round_is_a_backfill_from_each_accounts_start(sqlite_url: str, install: Install) -> None:
    api = served()
    harvester = prepared(install(api, sqlite_url, **account()))
    first = harvester.run("run", "--once", "--json")
    assert first.code == 0, first.err
    result = first.result
    assert result["requests"] == result["slices"]["done"] == result["slices"]["planned"] == len(PHONES)
    assert result["rows"]["new"] == len(PHONES) * (DAYS + 1) * 6
    assert (result["rate_limited"], result["failed"], result["error"]) == (0, [], None)
    assert [(each["name"], each["exit"]) for each in result["accounts"]] == [("main", 0)]
    assert_complete(sqlite_url, WANTED)

    second = harvester.run("run", "--once", "--json", "--phone", PHONES[3], "--phone", PHONES[4])
    assert second.code == 0
    assert second.result["requests"] == 2
    tails = [visit.path.split("/") for visit in api.journal if visit.path.startswith("/performance")][-2:]
    assert {path[-1] for path in tails} == {PHONES[3], PHONES[4]}
    assert {path[2] for path in tails} == {past_of(CALENDAR, 3)[0].strftime("%Y%m%d")}
    assert second.result["rows"]["new"] == 0
    assert_complete(sqlite_url, WANTED)


def test_one_round_leaves_with_a_backfills_codes(sqlite_url: str, install: Install) -> None:
    harvester = prepared(install(served(), sqlite_url, **account(password="wrong")))
    refused = harvester.run("run", "--once", "--json")
    assert (refused.code, refused.result["error"]["code"]) == (77, "credentials")
    assert harvester.run("run", "--json").code == 2  # the daemon has no result
    assert harvester.run("run", "--once", "--phone", "8005559999").code == 2


def test_one_round_beside_a_daemon_is_handed_over_to_it(sqlite_url: str, install: Install) -> None:
    api = served()
    harvester = prepared(install(api, sqlite_url, **account()))
    with daemon(harvester) as run:
        run.until_idle()
        before = sent(api)
        ended = harvester.run("run", "--once", "--json", within=20.0)
        assert ended.code == 0, ended.err
        assert ended.result["requests"] == sent(api) - before == len(PHONES)
        run.until_idle()
    assert_complete(sqlite_url, WANTED)


def test_a_second_round_at_the_same_time_asks_for_nothing_again(sqlite_url: str, install: Install) -> None:
    api = served(latency=0.6)
    harvester = prepared(install(api, sqlite_url, **account()))
    harvester.configure("api", concurrency=2)
    with harvester.started("run", "--once") as first:
        first.until(lambda: sent(api) >= 1)
        second = harvester.run("run", "--once", "--json")
        assert (second.code, second.result["error"]["code"], second.result["requests"]) == (75, "busy", 0)
        assert first.ended().code == 0
    assert sent(api) == len(PHONES)


def test_the_last_success_survives_a_restart_while_the_api_is_down(sqlite_url: str, install: Install) -> None:
    harvester = prepared(install(served(), sqlite_url, **account()))
    assert harvester.run("run", "--once").code == 0
    harvester.configure("api", base_url="http://127.0.0.1:9/api")
    with daemon(harvester) as run:
        run.until(lambda: run.metric(SUCCESS, account="main", resource="performance") is not None)
        stored = run.metric(SUCCESS, account="main", resource="performance")
        assert stored is not None
        assert time.time() - 2 * 86_400 < stored <= time.time()
