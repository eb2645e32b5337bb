"""`check` reports all problems at once, with one request per account, and prints no secret."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from harvester.core.model import QuotaRecord
from harvester.core.period import Calendar, WeekStart
from harvester.simulator.api import SimulatedApi
from harvester.simulator.faults import Fault
from harvester.simulator.options import AUTH, Account, Options
from harvester.simulator.world import World
from harvester.store.types import AccountIdentity
from tests.support.databases import claimed, query
from tests.support.process import Ended, Installation, toml

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install

CANARY = "canary-7f3a9c"
DEMO = Account()
IDENTITY = AccountIdentity(
    name="main",
    base_url="http://elsewhere/api",
    timezone="America/New_York",
    week_start=WeekStart.SUNDAY,
    settle_days=3,
)


def findings(ended: Ended) -> dict[str, bool]:
    return {one["name"]: one["ok"] for one in ended.result["checks"]}


def message(ended: Ended, name: str) -> str:
    return " / ".join(one["message"] for one in ended.result["checks"] if one["name"] == name)


def data_requests(api: SimulatedApi) -> list[str]:
    return [visit.path for visit in api.journal if visit.path != AUTH]


def files(harvester: Installation) -> set[str]:
    return {path.name for path in harvester.home.iterdir() if not path.name.startswith("std")}


def hidden_password(harvester: Installation) -> Path:
    """A secret file that only its owner reads."""
    path = harvester.home / "password"
    path.write_text(CANARY)
    path.chmod(0o600)
    return path


# Offline


def test_offline_a_good_configuration_passes_and_nothing_is_created_or_sent(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi()
    harvester = install(api, sqlite_url)
    before = files(harvester)
    plain = harvester.run("check")
    ended = harvester.run("check", "--json")
    assert (plain.code, plain.err) == (0, "")
    assert [line.split()[:2] for line in plain.out.splitlines()] == [
        ["ok", "configuration"],
        ["ok", "database"],
        ["ok", "accounts.main.password"],
    ]
    assert (ended.code, ended.result["error"]) == (0, None)
    assert all(findings(ended).values())
    assert files(harvester) == before
    assert api.total == 0


def test_all_problems_are_reported_at_once_and_the_first_in_precedence_gives_the_code(install: Install) -> None:
    harvester = install(
        SimulatedApi(),
        "sqlite:////nowhere/at/all.db",
        accounts={
            "main": {"password": None, "password_file": "missing"},
            "other": {"password": None, "login": "other"},
            "third": {"login": "third"},
        },
    )
    (harvester.home / "config.toml").chmod(0o644)
    ended = harvester.run("check", "--json")
    plain = harvester.run("check")
    assert findings(ended) == {
        "configuration": True,
        "permissions": False,
        "database": False,
        "accounts.main.password": False,
        "accounts.other.password": False,
        "accounts.third.password": True,
    }
    assert (ended.code, ended.result["error"]["code"]) == (74, "database")
    assert {one["name"]: one["exit"] for one in ended.result["accounts"]} == {"main": 78, "other": 78, "third": 0}
    assert plain.code == 74
    assert sum(line.startswith("FAIL") for line in plain.out.splitlines()) == 4
    assert "4 of 6" in plain.err


def test_a_secret_that_others_can_read_is_an_error(sqlite_url: str, install: Install) -> None:
    harvester = install(SimulatedApi(), sqlite_url, password=None, password_file="password")
    path = hidden_password(harvester)
    assert harvester.run("check").code == 0
    path.chmod(0o604)
    ended = harvester.run("check")
    assert ended.code == 78
    assert f"FAIL  permissions  {path}" in ended.out
    assert "chmod 600" in ended.out
    assert "warning" not in ended.err


def test_a_broken_configuration_is_reported_as_json_too(sqlite_url: str, install: Install) -> None:
    harvester = install(SimulatedApi(), sqlite_url, timezone="Amerika/New_York", resources=["performanse"])
    ended = harvester.run("check", "--json")
    assert (ended.code, ended.result["error"]["code"]) == (78, "config")
    assert "timezone" in message(ended, "configuration")
    assert "performanse" in message(ended, "configuration")
    assert harvester.run("check").code == 78


def test_no_account_is_an_error(sqlite_url: str, install: Install) -> None:
    harvester = install(SimulatedApi(), sqlite_url)
    (harvester.home / "config.toml").write_text(toml({"database": {"url": sqlite_url}}))
    for arguments in (("check",), ("check", "--online")):
        ended = harvester.run(*arguments)
        assert ended.code == 78
        assert "no account is configured" in ended.out


def test_a_refresh_that_takes_most_of_the_quota_is_a_warning(sqlite_url: str, install: Install) -> None:
    phones = [str(8005550000 + number) for number in range(90)]
    harvester = install(SimulatedApi(), sqlite_url, limit=20, phones=phones)
    ended = harvester.run("check", "--json")
    plain = harvester.run("check")
    assert (ended.code, plain.code) == (0, 0)
    assert ["daemon.refresh" in line for line in ended.result["warnings"]] == [True]
    assert "warning: accounts.main: refreshing 90 series" in plain.err
    assert "daemon.refresh" not in harvester.run("check", "-q").err


def test_postgresql_must_be_migrated_unless_auto_migrate_is_set(postgres_url: str, install: Install) -> None:
    by_hand = {"auto_migrate": False}
    api = SimulatedApi()
    harvester = install(api, postgres_url, database=by_hand)
    ended = harvester.run("check", "--online", "--json")
    assert ended.code == 74
    assert "harvester migrate" in message(ended, "database")
    assert findings(ended)["accounts.main.online"] is False
    assert api.total == 0
    assert harvester.run("check", HARVESTER_DATABASE__AUTO_MIGRATE="true").code == 0
    assert harvester.run("migrate").code == 0
    assert harvester.run("check").code == 0


@pytest.mark.parametrize("content", [b"no database at all", b""], ids=["foreign", "empty"])
def test_a_foreign_file_is_refused_and_an_empty_one_is_not(content: bytes, sqlite_url: str, install: Install) -> None:
    harvester = install(SimulatedApi(), sqlite_url)
    path = harvester.home / "store.db"
    path.write_bytes(content)
    assert harvester.run("check").code == (74 if content else 0)
    assert path.read_bytes() == content


def test_an_unreachable_database_server_leaves_74(install: Install) -> None:
    harvester = install(SimulatedApi(), f"postgresql://me:{CANARY}@127.0.0.1:1/none")
    ended = harvester.run("check", "-v", "--json")
    assert ended.code == 74
    assert CANARY not in ended.out + ended.err


def test_another_zone_than_the_stored_one_is_refused_with_advice(store_url: str, install: Install) -> None:
    harvester = install(SimulatedApi(), store_url, periods=["day", "week"])
    assert harvester.run("backfill", "--start", "2024-01-01", "--end", "2024-01-31").code == 0
    moved = {"HARVESTER_ACCOUNTS__MAIN__TIMEZONE": "UTC", "HARVESTER_ACCOUNTS__MAIN__WEEK_START": "monday"}
    ended = harvester.run("check", "--online", "--json", within=60.0, **moved)
    assert ended.code == 78
    assert "America/New_York" in message(ended, "accounts.main.timezone")
    assert "set it back" in message(ended, "accounts.main.week_start")
    assert "skipped" in message(ended, "accounts.main.online")
    assert harvester.run("check").code == 0


# Online


def test_one_request_checks_zone_and_week_and_stores_no_value(store_url: str, install: Install) -> None:
    api = SimulatedApi()
    harvester = install(api, store_url, phones=["8005550000", "ALL"])
    ended = harvester.run("check", "--online", "--json")
    assert (ended.code, ended.err) == (0, "")
    (path,) = data_requests(api)
    assert path.startswith("/performance/")
    assert path.endswith("/week/ALL")
    assert api.visits[AUTH] == 1
    (account,) = ended.result["accounts"]
    assert "America/New_York" in account["answer"]
    assert "weeks from sunday" in account["answer"]
    assert (account["exit"], account["requests"], account["held_by"]) == (0, 1, None)
    assert account["answer"] == message(ended, "accounts.main.online")
    assert query(store_url, "SELECT count(*) FROM metric_values") == [(0,)]
    assert query(store_url, "SELECT state, answer, holder FROM account") == [("ok", account["answer"], "")]


@pytest.mark.parametrize(
    ("zone", "start", "corrections"),
    [
        ("America/Chicago", WeekStart.SUNDAY, ['timezone = "America/Chicago"']),
        ("Etc/GMT+5", WeekStart.SUNDAY, ['timezone = "Etc/GMT+5"']),
        ("America/New_York", WeekStart.MONDAY, ['week_start = "monday"']),
        ("UTC", WeekStart.MONDAY, ['timezone = "UTC"', 'week_start = "monday"']),
    ],
)
def test_a_wrong_zone_or_week_is_refused_with_the_right_one(
    zone: str, start: WeekStart, corrections: list[str], sqlite_url: str, install: Install
) -> None:
    api = SimulatedApi([Account(world=World(calendar=Calendar(ZoneInfo(zone), start)))])
    harvester = install(api, sqlite_url)
    ended = harvester.run("check", "--online", "--json")
    assert (ended.code, ended.result["error"]["code"]) == (78, "calendar")
    assert all(correction in ended.result["error"]["message"] for correction in corrections)
    assert len(data_requests(api)) == 1
    assert query(sqlite_url, "SELECT state FROM account") == [("paused",)]
    corrected = {
        f"HARVESTER_ACCOUNTS__MAIN__{correction.split()[0].upper()}": correction.split('"')[1]
        for correction in corrections
    }
    assert harvester.run("check", "--online", within=60.0, **corrected).code == 0
    assert query(sqlite_url, "SELECT state, reason FROM account") == [("ok", "")]


def test_a_host_s_clock_that_is_off_is_named(sqlite_url: str, install: Install) -> None:
    harvester = install(SimulatedApi(options=Options(clock_offset=-2 * 86_400.0)), sqlite_url)
    ended = harvester.run("check", "--online", "--json")
    assert ended.code == 0
    assert "; this host's clock is 2 d ahead of the API's; set the host's clock" in message(
        ended, "accounts.main.online"
    )


def test_a_wrong_week_start_without_weeks_is_reported_and_not_refused(sqlite_url: str, install: Install) -> None:
    # No week is stored and none is configured: a wrong week start affects nothing and can be corrected later.
    api = SimulatedApi([Account(world=World(calendar=Calendar(ZoneInfo("America/New_York"), WeekStart.MONDAY)))])
    harvester = install(api, sqlite_url)
    assert harvester.run("backfill", "--start", "2024-01-01", "--end", "2024-01-31").code == 0
    ended = harvester.run("check", "--online")
    assert ended.code == 0
    assert "weeks from monday" in ended.out
    assert harvester.run("check", "--online", HARVESTER_ACCOUNTS__MAIN__WEEK_START="monday").code == 0


def test_the_request_uses_xml_and_post_as_configured(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi(options=Options(methods=frozenset({"POST"})))
    harvester = install(api, sqlite_url, api={"format": "xml", "method": "POST"}, resources=["profile"])
    assert harvester.run("check", "--online").code == 0
    assert [path.split("/")[1] for path in data_requests(api)] == ["profile"]


@pytest.mark.parametrize("direct", [False, True], ids=["tool", "direct"])
def test_refused_credentials_leave_77(direct: bool, sqlite_url: str, install: Install) -> None:  # noqa: FBT001 - a table's column
    api = SimulatedApi([replace(DEMO, direct=direct)])
    harvester = install(api, sqlite_url, password=CANARY, tool=None if direct else "fuseplus")
    ended = harvester.run("check", "--online", "--json", "-vv")
    assert (ended.code, ended.result["error"]["code"]) == (77, "credentials")
    assert api.total == 1
    assert CANARY not in ended.out + ended.err


@pytest.mark.parametrize(("status", "code"), [(401, 77), (400, 78)])
def test_a_number_of_another_account_is_named(status: int, code: int, sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([replace(DEMO, world=World(phones=("8005559999",)))], Options(foreign_status=status))
    ended = install(api, sqlite_url).run("check", "--online")
    assert ended.code == code
    assert "8005550000" in ended.out
    assert len(data_requests(api)) == 1


def test_a_refused_range_is_a_failed_request(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi(options=Options(max_days=6))
    ended = install(api, sqlite_url).run("check", "--online", "--json")
    assert (ended.code, ended.result["error"]["code"]) == (3, "rejected")
    assert len(data_requests(api)) == 1


@pytest.mark.parametrize("tool", ["fuseplus", None])
def test_an_unreachable_api_leaves_69_soon(tool: str | None, sqlite_url: str, install: Install) -> None:
    harvester = install(SimulatedApi(), sqlite_url, api={"base_url": "http://127.0.0.1:1/api"}, tool=tool)
    ended = harvester.run("check", "--online", "--json", within=30)
    assert (ended.code, ended.result["error"]["code"]) == (69, "unreachable")
    assert ended.result["accounts"][0]["requests"] == 0
    assert query(sqlite_url, "SELECT state FROM account") == [("waiting",)]


@pytest.mark.parametrize(("failures", "code"), [(2, 0), (3, 69)])
def test_a_request_is_tried_three_times(failures: int, code: int, sqlite_url: str, install: Install) -> None:
    api = SimulatedApi()
    api.inject(Fault.SERVER_ERROR, failures)
    ended = install(api, sqlite_url).run("check", "--online", "--json")
    assert ended.code == code
    assert ended.result["accounts"][0]["requests"] == len(data_requests(api)) == 3


def test_an_error_of_one_account_does_not_stop_another(sqlite_url: str, install: Install) -> None:
    second = Account(name="second", login="second@example.com")
    api = SimulatedApi([DEMO, second])
    harvester = install(
        api,
        sqlite_url,
        accounts={
            "main": {},
            "second": {"login": second.login, "password": "wrong"},
            "third": {"login": "third", "password": None, "password_file": "missing"},
        },
    )
    ended = harvester.run("check", "--online", "--json")
    assert ended.code == 78
    assert {one["name"]: one["exit"] for one in ended.result["accounts"]} == {"main": 0, "second": 77, "third": 78}
    assert findings(ended)["accounts.main.online"]
    assert len(data_requests(api)) == 1


def test_for_a_held_account_its_newest_answer_is_reported(store_url: str, install: Install) -> None:
    api = SimulatedApi()
    harvester = install(api, store_url)

    async def beside(answer: str | None) -> Ended:
        async with claimed(store_url, IDENTITY) as store:
            if answer:
                await store.set_answer(answer, 1_700_000_000)
            return await asyncio.to_thread(harvester.run, "check", "--online", "--json")

    without = asyncio.run(beside(None))
    ended = asyncio.run(beside("the answer fits the moon"))
    assert (without.code, ended.code) == (0, 0)
    assert "no answer yet" in message(without, "accounts.main.online")
    assert "2023-11-14T22:13:20Z: the answer fits the moon" in message(ended, "accounts.main.online")
    (account,) = ended.result["accounts"]
    assert account["held_by"].startswith("pid ")
    assert (account["answer"], account["answered_at"]) == ("the answer fits the moon", 1_700_000_000)
    assert api.total == 0


def test_a_wait_for_the_quota_is_printed_once(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi()
    harvester = install(api, sqlite_url)
    now = time.time()
    ends = int(now) + 10  # so that a slow start still finds the window open
    spent = QuotaRecord(limit=150, spent=150, remaining=0, resets_at=ends, server_ahead=0.0, recorded_at=now)

    async def earlier() -> None:
        async with claimed(sqlite_url, IDENTITY) as store:
            await store.save(spent)

    asyncio.run(earlier())
    ended = harvester.run("check", "--online")
    assert ended.code == 0
    assert ended.err.count("waiting") == 1
    (visit,) = (visit for visit in api.journal if visit.path != AUTH)
    assert visit.at >= ends


def test_an_interrupted_wait_leaves_130_and_one_object(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi(options=Options(limit=1, window=86_400))
    harvester = install(api, sqlite_url)
    assert harvester.run("check", "--online").code == 0
    with harvester.started("check", "--online", "--json") as running:
        running.until(lambda: "waiting" in running.err)
        running.signal(signal.SIGINT)
        ended = running.ended()
    assert (ended.code, ended.result["error"]["code"]) == (130, "interrupted")
    assert [(one["name"], one["exit"]) for one in ended.result["accounts"]] == [("main", 130)]
    assert "Traceback" not in ended.err
    assert len(data_requests(api)) == 1
    assert query(sqlite_url, "SELECT holder FROM account") == [("",)]


def test_no_secret_is_printed_at_the_highest_verbosity(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([replace(DEMO, password=CANARY)])
    api.inject(Fault.SERVER_ERROR, 1)
    harvester = install(api, sqlite_url, password=None, password_file="password")
    hidden_password(harvester)
    ended = harvester.run("check", "--online", "-vvv")
    assert ended.code == 0
    assert "asking for main performance" in ended.err
    assert CANARY not in ended.out + ended.err
    assert all(CANARY.encode() not in path.read_bytes() for path in harvester.home.glob("store.db*"))
