"""A backfill stores the true values with as few requests as `plan` says, and requests nothing twice."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.acceptance.conftest import Install
from tests.support.databases import query
from tests.support.truth import Wanted, assert_harvested

PHONES = ("ALL", "8005550100")
RESOURCES = ("performance", "volume", "events", "profile")
PERIODS = (Period.DAY, Period.WEEK, Period.MONTH)
RANGE = ("--start", "2023-10-10", "--end", "2025-04-02")
BUSY = Options(limit=1000)


@pytest.mark.parametrize("wire", [("json", "GET"), ("xml", "POST")], ids=["json", "xml-post"])
def test_days_weeks_and_months_equal_the_truth_and_are_requested_once(
    store_url: str, wire: tuple[str, str], install: Install
) -> None:
    form, method = wire
    world = World(phones=("8005550100", "8005550101"))
    api = SimulatedApi([Account(world=world)], Options(limit=1000, methods=frozenset({method})))
    harvester = install(
        api,
        store_url,
        api={"format": form, "method": method},
        phones=["ALL", "(800) 555-0100"],
        resources=list(RESOURCES),
        periods=[period.value for period in PERIODS],
    )
    before = harvester.run("plan", *RANGE, "--json").result
    first = harvester.run("backfill", *RANGE, "--json")
    sent = sum(api.requests_per_window().values())
    after = harvester.run("plan", *RANGE, "--json").result
    again = harvester.run("backfill", *RANGE, "--json")

    wanted = Wanted(date(2023, 10, 10), date(2025, 4, 2), PERIODS, PHONES, RESOURCES, world=world)
    assert_harvested(store_url, wanted)
    assert (first.code, first.result["error"]) == (0, None)
    assert first.result["requests"] == sent == before["requests"] == before["slices"]
    # 541 days, and 546 of whole weeks, in two requests a series; of months there are 577, October to April.
    assert sent == len(RESOURCES) * len(PHONES) * (2 + 2 + 2)
    assert first.result["slices"] == {"planned": sent, "done": sent, "failed": 0, "already_covered": 0}
    assert first.result["rows"] == {
        "new": wanted.rows().total(), "changed": 0, "unchanged": 0, "rejected": 0, "absent": 0,
    }  # fmt: skip
    assert (after["requests"], after["windows"]) == (0, 0)
    assert again.code == 0
    assert again.result["requests"] == again.result["slices"]["planned"] == 0
    assert again.result["slices"]["already_covered"] == after["already_covered_slices"] > 0
    assert sum(api.requests_per_window().values()) == sent


def test_the_wide_views_show_the_same_figures(store_url: str, install: Install) -> None:
    world = World()
    harvester = install(SimulatedApi([Account(world=world)], BUSY), store_url, phones=["8005550100"])
    assert harvester.run("backfill", "--start", "2024-03-09", "--end", "2024-03-11").code == 0

    rows = query(store_url, "SELECT phone, epoch, calls, average_page_load FROM performance_day ORDER BY epoch")
    days = (date(2024, 3, 9), date(2024, 3, 11))
    truth = world.truth("performance", "8005550100", Period.DAY, *days)
    assert rows == [
        ("8005550100", epoch, float(calls), float(truth["average_page_load"][epoch]))
        for epoch, calls in truth["calls"].items()
    ]
    assert [later[1] - earlier[1] for earlier, later in pairwise(rows)] == [86_400, 82_800]


def test_ten_years_of_days_take_ten_requests(sqlite_url: str, install: Install) -> None:
    world = World()
    api = SimulatedApi([Account(world=world)], BUSY)
    harvester = install(api, sqlite_url, phones=["8005550100"])
    ended = harvester.run("backfill", "--start", "2015-03-01", "--end", "2025-02-28", "--json")

    assert (ended.code, ended.result["requests"]) == (0, 10)
    assert sum(api.requests_per_window().values()) == 10
    wanted = Wanted(date(2015, 3, 1), date(2025, 2, 28), (Period.DAY,), ("8005550100",), world=world)
    assert_harvested(sqlite_url, wanted)


def test_a_wider_range_requests_what_is_missing_and_refetch_all(sqlite_url: str, install: Install) -> None:
    world = World()
    api = SimulatedApi([Account(world=world)], BUSY)
    harvester = install(api, sqlite_url, phones=["8005550100"])
    harvester.run("backfill", "--start", "2024-06-01", "--end", "2024-06-30")
    api.visits.clear()
    wider = harvester.run("backfill", "--start", "2024-05-01", "--end", "2024-07-31", "--json").result
    requested = sorted(path for path in api.visits if path != "/auth")

    # Requesting June again, between the two, saves a request.
    assert requested == ["/performance/20240501/20240731/day/8005550100"]
    assert wider["rows"]["unchanged"] == 30 * 6
    assert wider["rows"]["new"] == (31 + 31) * 6

    again = harvester.run("backfill", "--start", "2024-05-01", "--end", "2024-07-31", "--refetch", "--json").result
    assert (again["requests"], again["rows"]["unchanged"], again["rows"]["new"]) == (1, 92 * 6, 0)


def test_today_is_fetched_but_not_final_and_fetched_again(sqlite_url: str, install: Install) -> None:
    world = World()
    api = SimulatedApi([Account(world=world)], BUSY)
    harvester = install(api, sqlite_url, phones=["8005550100"], timezone="America/New_York")
    first = harvester.run("backfill", "--start", "yesterday", "--json").result
    second = harvester.run("backfill", "--start", "yesterday", "--json").result

    assert (first["requests"], second["requests"]) == (1, 1)
    rows = query(sqlite_url, "SELECT complete, final FROM performance ORDER BY epoch")
    assert rows == [(1, 0), (0, 0)]


def test_plan_creates_nothing(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([Account()], BUSY)
    harvester = install(api, sqlite_url)
    planned = harvester.run("plan", *RANGE)

    assert planned.code == 0
    assert "2 requests" in planned.out
    assert api.total == 0
    assert not list(harvester.home.glob("store.db*"))
