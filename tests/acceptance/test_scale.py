"""Sixty accounts over two daemons on one PostgreSQL: divided, fresh in time, and taken over when one is killed.

The books are the server's: each process exchanges an account's login for a temporary pair of its own, so an account
that authenticated once was worked by one process.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import psycopg

from harvester.simulator.api import SimulatedApi, Visit
from harvester.simulator.options import AUTH, Account, Options
from harvester.simulator.world import World
from tests.support.databases import query
from tests.support.process import PATIENCE, Installation, Running
from tests.support.simulation import refused_per_window

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install

ACCOUNTS = tuple(f"a{number:02}" for number in range(60))
PHONES = tuple(f"80055501{number:02}" for number in range(20))
SERIES = len(ACCOUNTS) * len(PHONES)
LIMIT, WINDOW = 45, 20  # who takes over asks for the newest days once more: 60 requests an account, so the quota binds
DAYS, WIDTH = 39, 20  # today included: two requests a series
CONCURRENCY = 8  # of one process: the default
TAKEOVER = 5.0  # seconds
LOOK_EVERY = 0.1  # seconds
WORLD = World()
TODAY = WORLD.calendar.local_date(time.time())
YESTERDAY = TODAY - timedelta(days=1)
START = TODAY - timedelta(days=DAYS - 1)


def test_two_daemons_divide_sixty_accounts_and_one_takes_over(postgres_url: str, install: Install) -> None:
    # The server's windows begin with the test, so that no run has an unluckier first window than another.
    options = Options(limit=LIMIT, window=WINDOW, clock_offset=-(time.time() % WINDOW))
    api = SimulatedApi([Account(name=name, login=login(name), world=WORLD) for name in ACCOUNTS], options)
    harvester = installed(install, api, postgres_url)
    seen: defaultdict[str, set[str]] = defaultdict(set)  # account -> whoever was seen to hold it

    def all_fresh() -> bool:
        for account, holder in holders(postgres_url).items():
            seen[account].add(holder)
        return complete_days(postgres_url, YESTERDAY) == SERIES

    with started_together(harvester, postgres_url) as (one, other):
        wait_for(all_fresh, one, other)
        held = {account: one if f"pid {one.pid} " in holder else other for account, (holder,) in seen.items()}
        assert authentications(api) == dict.fromkeys(ACCOUNTS, 1)
        assert windows_until_fresh(api) <= 2

        shares = Counter(held.values()).most_common()
        assert len(shares) == 2
        (dead, _), (survivor, _) = shares
        dead.kill()
        killed_at = time.monotonic()
        wait_for(lambda: all(f"pid {survivor.pid} " in name for name in holders(postgres_url).values()), survivor)
        assert time.monotonic() - killed_at < TAKEOVER
        wait_for(lambda: complete_days(postgres_url, START) == SERIES * (DAYS - 1), survivor)

    assert authentications(api) == {account: 2 if holder is dead else 1 for account, holder in held.items()}
    assert asked_again(api) <= 2 * CONCURRENCY  # what was in flight
    for account in ACCOUNTS:
        assert max(api.requests_per_window(account).values()) <= LIMIT
        assert not refused_per_window(api, account)
    assert calls_stored(postgres_url) == true_calls()


def login(account: str) -> str:
    return f"{account}@example.com"


def installed(install: Install, api: SimulatedApi, url: str) -> Installation:
    accounts = {name: {"login": login(name), "phones": list(PHONES), "start": str(START)} for name in ACCOUNTS}
    harvester = install(api, url, api={"max_days_per_request": WIDTH}, accounts=accounts)
    harvester.configure("daemon", listen="")
    migrated = harvester.run("migrate")
    assert migrated.code == 0, migrated.err
    return harvester


@contextmanager
def started_together(harvester: Installation, url: str) -> Iterator[tuple[Running, Running]]:
    """Two daemons, neither of which claims its second account before the other has come."""
    with harvester.started("run") as one, harvester.started("run") as other:
        with psycopg.connect(url) as gate:
            gate.execute("LOCK TABLE account IN ACCESS EXCLUSIVE MODE")
            wait_for(lambda: query(url, WAITING) == [(2,)], one, other)
        yield one, other


def wait_for(condition: Callable[[], bool], *running: Running) -> None:
    """Look less often than `Running.until` does: these looks are work for the database."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        for process in running:
            assert not process.has_ended, process.err
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(LOOK_EVERY)


# What the database shows

WAITING = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE datname = current_database() AND NOT granted"""


def holders(url: str) -> dict[str, str]:
    return dict(query(url, "SELECT name, holder FROM account WHERE holder <> ''"))


def complete_days(url: str, since: date) -> int:
    """How many days there are of all series, from `since` to yesterday."""
    days = f"local_date BETWEEN '{since}' AND '{YESTERDAY}'"
    count: int = query(url, f"SELECT count(*) FROM performance_day WHERE complete AND {days}")[0][0]  # noqa: S608 - ours
    return count


def calls_stored(url: str) -> dict[tuple[str, str, date], float]:
    found = query(url, "SELECT account, phone, local_date, calls FROM performance_day")
    return {(account, phone, day): calls for account, phone, day, calls in found if day <= YESTERDAY}


def true_calls() -> dict[tuple[str, str, date], float]:
    days = [START + timedelta(days=ahead) for ahead in range(DAYS - 1)]
    of_phones = {(phone, day): WORLD.tally(phone, day).calls for phone in PHONES for day in days}
    return {(account, *key): calls for account in ACCOUNTS for key, calls in of_phones.items()}


# What the server's books show


def answered(api: SimulatedApi) -> list[Visit]:
    return [visit for visit in list(api.journal) if visit.path != AUTH and visit.status == HTTPStatus.OK]


def authentications(api: SimulatedApi) -> dict[str, int]:
    return Counter(visit.account for visit in list(api.journal) if visit.path == AUTH)


def windows_until_fresh(api: SimulatedApi) -> int:
    """Windows, at worst over the accounts, from an account's first request until all its phones had yesterday."""
    began: dict[str, int] = {}
    fresh: dict[tuple[str, str], int] = {}
    for visit in answered(api):
        window = int(visit.at // WINDOW)
        began.setdefault(visit.account, window)
        _, _, first, last, _, phone = visit.path.split("/")
        if first <= f"{YESTERDAY:%Y%m%d}" <= last:
            fresh.setdefault((visit.account, phone), window)
    assert len(fresh) == SERIES
    return max(window - began[account] for (account, _), window in fresh.items()) + 1


def asked_again(api: SimulatedApi) -> int:
    """Answers for the older half of the days that had been given before; the newer half is not settled."""
    newest = f"{YESTERDAY - timedelta(days=7):%Y%m%d}"
    times = Counter((visit.account, visit.path) for visit in answered(api) if visit.path.split("/")[3] < newest)
    return sum(count - 1 for count in times.values())
