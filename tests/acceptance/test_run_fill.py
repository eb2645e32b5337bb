"""The daemon fetches whatever is missing of the configured series, and keeps it fresh."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.daemon import (
    A_TICK,
    EVERY_MINUTE,
    SETTLE_DAYS,
    account_of,
    assert_complete,
    calendar_at_noon,
    daemon,
    past_of,
    prepared,
    today,
)
from tests.support.databases import query
from tests.support.simulation import refused_per_window
from tests.support.truth import Wanted

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install

WORLD = World(calendar=calendar_at_noon())
PHONES = ("ALL", *(f"80055501{number:02}" for number in range(5)))
DAYS = 200
HOUR = 3600.0


def sent(api: SimulatedApi, account: str = "main") -> int:
    return sum(api.requests_per_window(account).values())


def asked(api: SimulatedApi) -> list[tuple[str, str, str]]:
    """First day, last day and phone of every data request, in order."""
    pieces = [visit.path.split("/")[2:] for visit in api.journal if visit.path.startswith("/performance/")]
    return [(first, last, phone) for first, last, _, phone in pieces]


def todays_calls(url: str) -> dict[str, float]:
    day = today(WORLD.calendar).isoformat()
    found = query(url, f"SELECT phone, calls FROM performance WHERE local_date = '{day}'")  # noqa: S608 - our own date
    return dict(tuple(row) for row in found)


def test_what_is_missing_is_fetched_and_nothing_more(postgres_url: str, install: Install) -> None:
    api = SimulatedApi([Account(world=WORLD)])
    harvester = prepared(install(api, postgres_url, **account_of(WORLD.calendar, DAYS, phones=list(PHONES))))
    with daemon(harvester) as run:
        run.until_idle()
        assert_complete(postgres_url, Wanted(*past_of(WORLD.calendar, DAYS), (Period.DAY,), PHONES, world=WORLD))
        time.sleep(0.5)
        assert sent(api) == len(PHONES)


def test_a_tick_requests_the_provisional_days_of_each_series_once(sqlite_url: str, install: Install) -> None:
    morning = Options(clock_offset=-6 * HOUR)
    api = SimulatedApi([Account(world=WORLD)], morning)
    harvester = prepared(
        install(api, sqlite_url, **account_of(WORLD.calendar, DAYS, phones=list(PHONES))), refresh=EVERY_MINUTE
    )
    with daemon(harvester) as run:
        run.until_idle()
        if time.time() % 60 > 50:  # the next tick must not come between the checks below
            run.until(lambda: len(run.events("round")) >= 2, A_TICK)
        before = len(asked(api))
        early = todays_calls(sqlite_url)
        api.options = replace(morning, clock_offset=0.0)

        run.until(lambda: len(asked(api)) > before, A_TICK)
        run.until(lambda: len(run.events("round")) >= 1 + before // len(PHONES))
        run.until_idle()
        time.sleep(1.0)
        provisional = asked(api)[before:]
        assert sorted(phone for *_, phone in provisional) == sorted(PHONES)
        # Nothing final is requested again, and the provisional days in one request.
        first = past_of(WORLD.calendar, SETTLE_DAYS)[0].strftime("%Y%m%d")
        assert {(begin, end) for begin, end, _ in provisional} == {(first, today(WORLD.calendar).strftime("%Y%m%d"))}
        late = todays_calls(sqlite_url)
        grown = [phone for phone in PHONES if late[phone] > early[phone]]
        assert len(grown) >= 4  # not every phone has calls before noon
        assert all(late[phone] >= early[phone] for phone in PHONES)
        assert_complete(sqlite_url, Wanted(*past_of(WORLD.calendar, DAYS), (Period.DAY,), PHONES, world=WORLD))
        assert query(sqlite_url, "SELECT count(*) FROM revisions") == [(0,)]  # today was never complete
        assert not any(refused_per_window(api).values())


def test_a_good_refresh_is_pinged(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([Account(world=WORLD, password="new")])
    settings = account_of(WORLD.calendar, DAYS, phones=list(PHONES), password="new")
    with pinged() as (url, pings):
        harvester = prepared(install(api, sqlite_url, **settings), ping_url=url)
        with daemon(harvester) as run:
            run.until(lambda: pings == ["/alive"])
            run.until_idle()
            run.running.signal(signal.SIGHUP)
            run.until(lambda: len(pings) == 2)
            # After a failed refresh there is no ping, and its absence raises the alarm.
            harvester.configure("accounts.main", password="old")
            run.running.signal(signal.SIGHUP)
            run.until_state("paused")
            time.sleep(0.3)
            assert len(pings) == 2


@contextmanager
def pinged() -> Iterator[tuple[str, list[str]]]:
    """A dead-man's switch: its URL, and the requested paths."""
    paths: list[str] = []

    class Switch(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Switch) as server:
        thread = threading.Thread(target=server.serve_forever, name="switch", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/alive", paths
        finally:
            server.shutdown()
            thread.join()


# Priorities


def test_yesterday_of_all_phones_is_there_within_two_windows(sqlite_url: str, install: Install) -> None:
    limit = 150
    phones = [str(8005550000 + number) for number in range(200)]
    api = SimulatedApi([Account(world=WORLD)], Options(limit=limit, window=5))
    settings = account_of(WORLD.calendar, 3650, phones=phones)
    harvester = prepared(install(api, sqlite_url, api={"max_days_per_request": 120}, **settings))
    with daemon(harvester) as run:
        run.until(lambda: len(asked(api)) >= 2 * limit)
        yesterday = past_of(WORLD.calendar, 1)[0].isoformat()
        there = f"SELECT count(*) FROM performance WHERE local_date = '{yesterday}' AND calls IS NOT NULL"  # noqa: S608
        run.until(lambda: query(sqlite_url, there) == [(len(phones),)], within=2.0)

    present = today(WORLD.calendar).strftime("%Y%m%d")
    order = [last == present for _, last, _ in asked(api)]
    assert sum(order[: 2 * limit]) == len(phones)
    assert order[:limit].count(False) >= 10  # the past gets some requests, too
    assert max(api.requests_per_window().values()) <= limit
    assert not any(refused_per_window(api).values())
