"""Servers with faults and peculiarities: the table equals the truth, or the result names what is missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.faults import UNKNOWN_METRIC, Fault, Faults
from harvester.simulator.options import Account, Options
from harvester.simulator.world import Beyond, World
from tests.acceptance.conftest import Install
from tests.support.databases import query
from tests.support.simulation import refused_per_window
from tests.support.truth import Wanted, assert_harvested, stored_rows

PHONES = tuple(f"80055501{number:02}" for number in range(20))
DAYS = (date(2023, 1, 1), date(2024, 12, 31))
BACKFILL = ("backfill", "--start", "2023-01-01", "--end", "2024-12-31", "--json")
DAILY = (Period.DAY,)
WORLD = World()


def sent(api: SimulatedApi) -> int:
    return sum(api.requests_per_window().values())


def wanted(*phones: str, world: World = WORLD) -> Wanted:
    return Wanted(*DAYS, DAILY, phones, world=world)


# Random faults


def test_transport_faults_change_only_the_number_of_requests(store_url: str, install: Install) -> None:
    limit = 40
    faults = Faults(
        server_error=0.04, bad_gateway=0.03, unavailable=0.02, html=0.03, throttle=0.03, drop=0.03, drop_body=0.03,
        cut=0.03, cut_chunked=0.03, junk=0.03, slow=0.04, slow_body=0.02, dead=0.02, slow_seconds=0.3,
    )  # fmt: skip
    auth_faults = Faults(server_error=0.2, html=0.1, cut=0.1)
    options = Options(limit=limit, window=2, latency=0.02, jitter=0.03, faults=faults, auth_faults=auth_faults)
    api = SimulatedApi([Account(world=WORLD)], options)
    phones = PHONES[:15]
    harvester = install(api, store_url, phones=list(phones), api={"max_days_per_request": 200})
    ended = harvester.run(*BACKFILL)
    faults_seen = {visit.fault for visit in api.journal if visit.fault is not None}
    most = max(api.requests_per_window().values())

    assert len(faults_seen) >= 8  # otherwise the test is void
    assert most <= limit
    assert ended.code == (3 if ended.result["failed"] else 0), ended.err
    assert ended.result["retries"] > 0
    assert ended.result["requests"] == sent(api) + sum(refused_per_window(api).values())
    assert ended.result["rate_limited"] == sum(refused_per_window(api).values())
    if ended.code == 3:
        api.options = replace(options, faults=Faults(), auth_faults=Faults())
        assert harvester.run(*BACKFILL).code == 0
    assert_harvested(store_url, wanted(*phones))


def test_a_slice_that_always_fails_is_reported_and_the_same_command_fetches_it_later(
    sqlite_url: str, install: Install
) -> None:
    api = SimulatedApi([Account(world=WORLD)], Options())
    api.inject(Fault.JUNK, times=1000, where=f"/20240101/20241231/day/{PHONES[0]}")
    harvester = install(api, sqlite_url, phones=list(PHONES[:2]))
    ended = harvester.run(*BACKFILL)

    assert ended.code == 3
    (failed,) = ended.result["failed"]
    assert (failed["phone"], failed["start"], failed["end"]) == (PHONES[0], "2024-01-01", "2024-12-31")
    assert ended.result["slices"] == {"planned": 4, "done": 3, "failed": 1, "already_covered": 0}
    assert api.visits[f"/performance/20240101/20241231/day/{PHONES[0]}"] == 5

    api.injected.clear()
    repeated = harvester.run(*BACKFILL)
    assert (repeated.code, repeated.result["requests"], repeated.result["failed"]) == (0, 1, [])
    assert_harvested(sqlite_url, wanted(*PHONES[:2]))


# Range limits


@pytest.mark.parametrize("status", [400, 500])
def test_a_range_limit_of_a_hundred_days_is_found(status: int, sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([Account(world=WORLD)], Options(limit=1000, max_days=100, wide_status=status))
    harvester = install(api, sqlite_url, phones=[*PHONES[:4]])
    ended = harvester.run(*BACKFILL)

    assert ended.code == 0, ended.err
    assert_harvested(sqlite_url, wanted(*PHONES[:4]))
    refused = [visit for visit in api.journal if visit.status == status]
    assert len(refused) <= (16 if status == 400 else 45)  # five 500s in a row make a width suspect
    # 366 -> 183 -> 92: halving finds no wider one.
    assert sent(api) - len(refused) <= 4 * 10

    # The next process knows the limit.
    plan = harvester.run("plan", "--start", "2021-01-01", "--end", "2022-12-31", "--json").result
    visits = len(api.journal)
    second = harvester.run("backfill", "--start", "2021-01-01", "--end", "2022-12-31", "--json")
    assert second.code == 0
    assert second.result["requests"] == plan["requests"] >= 4 * 8
    assert all(visit.status == 200 for visit in list(api.journal)[visits:])


def test_twenty_slices_of_92_days_need_few_requests_to_find_the_limit(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([Account(world=WORLD)], Options(limit=1000, max_days=100))
    harvester = install(api, sqlite_url, phones=[PHONES[0]])
    ended = harvester.run("backfill", "--start", "2020-01-01", "--end", "2025-01-14", "--json")

    assert ended.code == 0
    assert sent(api) <= 45


# Days without data


def test_a_server_that_refuses_today_gives_all_other_days(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([Account(world=WORLD)], Options(today_refused=True))
    harvester = install(api, sqlite_url, phones=list(PHONES[:3]))
    ended = harvester.run("backfill", "--start", "2026-01-01", "--json")

    assert ended.code in {0, 3}, ended.err
    yesterday = max(row[6] for row in stored_rows(sqlite_url))
    today = WORLD.calendar.local_date(api.journal[-1].at)
    assert yesterday == (today - timedelta(days=1)).isoformat()
    assert sent(api) <= 3 * 2 + 3


@pytest.mark.parametrize("before", [Beyond.REFUSED, Beyond.ABSENT, Beyond.ZERO])
def test_days_before_the_first_data(before: Beyond, sqlite_url: str, install: Install) -> None:
    first_day = date(2023, 8, 17)
    world = World(first_day=first_day, before=before)
    api = SimulatedApi([Account(world=world)], Options(limit=1000))
    harvester = install(api, sqlite_url, phones=list(PHONES[:2]))
    ended = harvester.run(*BACKFILL)

    older = (first_day - DAYS[0]).days
    if before is Beyond.REFUSED:
        assert ended.code == 3
        assert [(one["start"], one["end"]) for one in ended.result["failed"]] == [("2023-01-01", "2023-08-16")] * 2
        assert "start" in ended.result["failed"][0]["error"]
        assert_harvested(sqlite_url, Wanted(first_day, DAYS[1], DAILY, PHONES[:2], world=world))
        assert sent(api) <= 2 * (2 + 12)
        return
    assert ended.code == 0
    assert ended.result["rows"]["absent"] == (2 * older if before is Beyond.ABSENT else 0)
    assert_harvested(sqlite_url, wanted(*PHONES[:2], world=world))
    assert harvester.run(*BACKFILL).result["requests"] == 0


# Peculiar values inside complete answers

JANUARY = ("backfill", "--start", "2024-01-01", "--end", "2024-01-31", "--json")


def rows_with(fault: Fault, sqlite_url: str, install: Install, form: str) -> dict[str, Any]:
    api = SimulatedApi([Account(world=WORLD)], Options())
    api.inject(fault)
    ended = install(api, sqlite_url, phones=[PHONES[0]], api={"format": form}).run(*JANUARY)
    assert ended.code == 0, ended.err
    rows = ended.result["rows"]
    assert isinstance(rows, dict)
    return rows


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_null_is_stored_as_null(form: str, sqlite_url: str, install: Install) -> None:
    assert rows_with(Fault.NULLS, sqlite_url, install, form)["new"] == 31 * 6
    nulls = query(sqlite_url, "SELECT count(*) FROM metric_values WHERE value IS NULL AND final")
    assert nulls == [(1,)]


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_value_that_is_no_number_is_rejected_and_the_others_are_stored(
    form: str, sqlite_url: str, install: Install
) -> None:
    rows = rows_with(Fault.NAN, sqlite_url, install, form)
    assert (rows["rejected"], rows["new"], rows["absent"]) == (1, 31 * 6 - 1, 0)
    assert query(sqlite_url, "SELECT count(*) FROM reject") == [(1,)]


@pytest.mark.parametrize("form", ["json", "xml"])
def test_an_absent_period_is_counted(form: str, sqlite_url: str, install: Install) -> None:
    rows = rows_with(Fault.ABSENT, sqlite_url, install, form)
    assert (rows["absent"], rows["rejected"], rows["new"]) == (1, 0, 30 * 6)


@pytest.mark.parametrize("form", ["json", "xml"])
def test_an_unknown_metric_is_stored_at_once(form: str, sqlite_url: str, install: Install) -> None:
    assert rows_with(Fault.UNKNOWN, sqlite_url, install, form)["new"] == 31 * 7
    rows = query(sqlite_url, "SELECT metric, count(*), sum(value) FROM metric_values GROUP BY metric")
    assert (UNKNOWN_METRIC, 31, 31.0) in rows
    assert (UNKNOWN_METRIC,) in query(sqlite_url, "SELECT metric FROM metrics")


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_phone_with_an_empty_answer_is_absent(form: str, sqlite_url: str, install: Install) -> None:
    # PHP writes an empty map as [].
    world = World(first_day=date(2026, 1, 1), before=Beyond.ABSENT)
    api = SimulatedApi([Account(world=world)], Options())
    ended = install(api, sqlite_url, phones=[PHONES[0]], api={"format": form}).run(*JANUARY)

    assert (ended.code, ended.result["rows"]["absent"], ended.result["rows"]["new"]) == (0, 31, 0)
