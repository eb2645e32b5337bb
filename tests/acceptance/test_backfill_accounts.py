"""Only one process spends an account's quota, and an account's errors affect no other account."""

from __future__ import annotations

import socket
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from harvester.core.period import Calendar, Period, WeekStart
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.acceptance.conftest import Install
from tests.support.simulation import direct_account, refused_per_window
from tests.support.truth import Wanted, assert_harvested

CONCURRENCY = 8  # the default
PHONES = tuple(f"80055501{number:02}" for number in range(12))
BACKFILL = ("backfill", "--start", "2024-01-01", "--end", "2024-12-31", "--json")
DAYS = (date(2024, 1, 1), date(2024, 12, 31))
DAILY = (Period.DAY,)


def sent(api: SimulatedApi, account: str = "main") -> int:
    return sum(api.requests_per_window(account).values())


def by_name(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {account["name"]: account for account in result["accounts"]}


# One process per account


def test_a_second_backfill_waits_and_names_the_holder_or_leaves_75(store_url: str, install: Install) -> None:
    world = World()
    api = SimulatedApi([Account(world=world)], Options(limit=2, window=2))
    phones = PHONES[:9]
    harvester = install(api, store_url, phones=list(phones))
    with harvester.started(*BACKFILL) as first:
        first.until(lambda: sent(api) >= 1)
        without_waiting = harvester.run(*BACKFILL, "--no-wait")
        with harvester.started(*BACKFILL) as second:
            second.until(lambda: str(first.pid) in second.err)
            assert socket.gethostname() in second.err
            assert first.ended().code == 0
            waited = second.ended()

    assert without_waiting.code == 75
    assert without_waiting.result["error"]["code"] == "busy"
    for text in (without_waiting.err, without_waiting.result["error"]["message"]):
        assert str(first.pid) in text
        assert socket.gethostname() in text
    assert (waited.code, waited.result["requests"]) == (0, 0)
    assert sent(api) == len(phones)
    assert_harvested(store_url, Wanted(*DAYS, DAILY, phones, world=world))


def test_a_waiting_backfill_continues_when_the_holder_is_killed(store_url: str, install: Install) -> None:
    world = World()
    api = SimulatedApi([Account(world=world)], Options(limit=3, window=2))
    harvester = install(api, store_url, phones=list(PHONES))
    with harvester.started(*BACKFILL) as first:
        first.until(lambda: sent(api) >= 1)
        with harvester.started(*BACKFILL) as second:
            second.until(lambda: str(first.pid) in second.err)
            first.kill()
            ended = second.ended(within=30.0)

    assert ended.code == 0
    assert 0 < ended.result["requests"] < len(PHONES)  # it was killed in the middle
    assert max(api.requests_per_window().values()) <= 3
    assert not refused_per_window(api)
    assert_harvested(store_url, Wanted(*DAYS, DAILY, PHONES, world=world))


# Several accounts at the same time


def test_the_error_of_one_account_is_reported_and_stops_no_other(store_url: str, install: Install) -> None:
    world = World()
    pacific = World(calendar=Calendar(ZoneInfo("America/Los_Angeles")))
    api = SimulatedApi(
        [
            Account("fine", "fine@example.com", "right", world=world),
            Account("locked", "locked@example.com", "right"),
            Account("western", "western@example.com", "right", world=pacific),
        ],
        Options(limit=100),
    )
    accounts = {
        name: {"login": f"{name}@example.com", "password": password, "phones": list(PHONES)}
        for name, password in (("fine", "right"), ("locked", "wrong"), ("western", "right"))
    }
    harvester = install(api, store_url, accounts=accounts)
    ended = harvester.run(*BACKFILL)
    accounts_of = by_name(ended.result)

    assert ended.code == 78  # before 77
    assert {name: account["exit"] for name, account in accounts_of.items()} == {"fine": 0, "locked": 77, "western": 78}
    assert accounts_of["fine"]["error"] is None
    assert accounts_of["locked"]["error"]["code"] == "credentials"
    assert accounts_of["western"]["error"]["code"] == ended.result["error"]["code"] == "calendar"
    assert "timezone" in accounts_of["western"]["error"]["message"]
    assert "America/Los_Angeles" in accounts_of["western"]["error"]["message"]
    assert (sent(api, "locked"), accounts_of["locked"]["requests"]) == (0, 0)
    assert sent(api, "western") <= CONCURRENCY
    assert [line for line in ended.err.splitlines() if "locked: " in line]
    assert [line for line in ended.err.splitlines() if "western: " in line]
    assert_harvested(store_url, Wanted(*DAYS, DAILY, PHONES, account="fine", world=world))


def test_a_week_that_begins_on_monday_is_noticed(sqlite_url: str, install: Install) -> None:
    monday = World(calendar=Calendar(ZoneInfo("America/New_York"), WeekStart.MONDAY))
    api = SimulatedApi([Account(world=monday)], Options(limit=100))
    harvester = install(api, sqlite_url, phones=list(PHONES), periods=["week"])
    ended = harvester.run(*BACKFILL)

    assert ended.code == 78
    assert "week_start" in ended.result["error"]["message"]
    assert "monday" in ended.result["error"]["message"]
    assert ended.result["rows"]["new"] == 0

    harvester.configure("accounts.main", week_start="monday")
    assert harvester.run(*BACKFILL).code == 0
    assert_harvested(sqlite_url, Wanted(*DAYS, (Period.WEEK,), PHONES, world=monday))

    harvester.configure("accounts.main", week_start="sunday")
    for command in (BACKFILL, ("plan", *BACKFILL[1:])):
        ended = harvester.run(*command)
        assert ended.code == 78
        assert "set it back" in ended.result["error"]["message"]


# Credentials


def test_refused_credentials_cost_at_most_two_authentications(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([Account(password="right")], Options(limit=100))
    ended = install(api, sqlite_url, password="wrong", phones=list(PHONES)).run(*BACKFILL)

    assert ended.code == 77
    assert ended.result["error"]["code"] == "credentials"
    assert 1 <= api.visits["/auth"] <= 2
    assert (sent(api), ended.result["requests"]) == (0, 0)
    assert len(ended.err.splitlines()) <= 2


def test_expired_temporary_credentials_cost_two_requests(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([direct_account()], Options(limit=100, latency=0.02))
    harvester = install(api, sqlite_url, tool=None, login="main@example.com", password="dead", phones=list(PHONES))
    ended = harvester.run(*BACKFILL)

    assert ended.code == 77
    assert api.visits["/auth"] == 0
    assert 1 <= api.total <= 2


@pytest.mark.parametrize("single", [False, True])
def test_a_pair_that_dies_is_renewed_once_for_all(sqlite_url: str, install: Install, *, single: bool) -> None:
    world = World()
    api = SimulatedApi([Account(world=world)], Options(limit=1000, latency=0.05, single_pair=single))
    harvester = install(api, sqlite_url, phones=list(PHONES), api={"max_days_per_request": 31})
    with harvester.started(*BACKFILL) as running:
        running.until(lambda: sent(api) >= 30)
        api.registry.expire()
        ended = running.ended()

    assert ended.code == 0
    assert api.visits["/auth"] == 2
    refused = [visit for visit in api.journal if visit.status == 401]
    assert len(refused) <= CONCURRENCY
    assert ended.result["requests"] == ended.result["slices"]["done"] + len(refused)
    assert_harvested(sqlite_url, Wanted(*DAYS, DAILY, PHONES, world=world))


@pytest.mark.parametrize("status", [401, 400])
def test_a_number_of_another_account_fails_alone(status: int, sqlite_url: str, install: Install) -> None:
    own, foreign = PHONES[1:], PHONES[0]
    world = World(phones=own)
    api = SimulatedApi([Account(world=world)], Options(limit=100, foreign_status=status))
    ended = install(api, sqlite_url, phones=list(PHONES)).run(*BACKFILL)

    assert ended.code == 3
    assert ended.result["error"] is None
    (failed,) = ended.result["failed"]
    assert failed.pop("error")
    assert failed == {
        "account": "main", "resource": "performance", "phone": foreign, "period": "day",
        "start": "2024-01-01", "end": "2024-12-31",
    }  # fmt: skip
    assert ended.result["slices"] == {
        "planned": len(PHONES), "done": len(own), "failed": 1, "already_covered": 0,
    }  # fmt: skip
    assert sent(api) <= len(PHONES) + 1
    assert_harvested(sqlite_url, Wanted(*DAYS, DAILY, own, world=world))


@pytest.mark.parametrize("direct", [False, True])
def test_a_number_of_another_account_that_is_fetched_alone_leaves_3(
    store_url: str, install: Install, *, direct: bool
) -> None:
    own, foreign = PHONES[:3], PHONES[3]
    world = World(phones=own)
    account = direct_account(world=world) if direct else Account(world=world)
    api = SimulatedApi([account], Options(limit=100))
    tool = {"tool": None, "login": account.login, "password": account.password} if direct else {}
    harvester = install(api, store_url, phones=[*own, foreign], **tool)
    assert harvester.run(*BACKFILL).code == 3
    before = sent(api)

    ended = harvester.run(*BACKFILL, "--phone", foreign)
    assert ended.code == 3
    assert [failed["phone"] for failed in ended.result["failed"]] == [foreign]
    assert "for this number only" in ended.result["failed"][0]["error"]
    assert ended.result["slices"] == {"planned": 1, "done": 0, "failed": 1, "already_covered": 0}
    assert ended.result["requests"] == sent(api) - before == 2
    assert harvester.run("status", "--json").result["accounts"][0]["state"] == "ok"
    assert_harvested(store_url, Wanted(*DAYS, DAILY, own, world=world))


@pytest.mark.parametrize("key", ["base_url", "method"])
def test_what_is_wrong_for_every_request_ends_after_a_few(key: str, sqlite_url: str, install: Install) -> None:
    account = direct_account()
    api = SimulatedApi([account], Options(limit=100))
    harvester = install(api, sqlite_url, tool=None, login=account.login, password=account.password, phones=list(PHONES))
    right = harvester._tables["api"]["base_url"]  # noqa: SLF001 - the address is known once it is served
    harvester.configure(**({"base_url": f"{right}/v9"} if key == "base_url" else {"method": "POST"}))
    ended = harvester.run(*BACKFILL)
    assert ended.code == 78
    assert f"`api.{key}`" in ended.result["error"]["message"]
    assert ended.result["requests"] <= 4
