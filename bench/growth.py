"""The growth of costs: the reference of each line is the same work at a tenth of the size, so a ratio of 10 is linear.

- Planning: ten years of days in pieces of a month, 120 slices per series, nothing stored.
- Nothing to do: what a tick of the daemon computes when all of ten years is stored. Read the coverage, plan the round.
- `status` as a whole process, on ten years of days of five metrics. A slice that is done leaves no row of its own, so a
  million of them are as many stretches of coverage as there are holes and provisional days: five per series here.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

from bench.harvests import HARVESTER, run
from bench.table import Row
from harvester import config
from harvester.core.coverage import Span
from harvester.core.model import RangeLimits, Series
from harvester.core.period import Calendar, Period
from harvester.core.planning import Desire, Plan, Rules, Stored, plan_slices
from harvester.core.range_limits import RangeLimitTracker
from harvester.daemon.reconcile import ProvisionalDays, StoredSeries, plan_reconcile
from harvester.engine.account_plan import configured_series, identity_of
from harvester.store.account_store import AccountStore
from harvester.store.claims import Database
from tests.support.process import configuration, toml

ROUNDS = 5
NEW_YORK = Calendar(ZoneInfo("America/New_York"))
YEARS = 10
MONTH = 31  # days
SETTLE_DAYS = 3
PLAN_WITHIN, TICK_WITHIN, STATUS_WITHIN = 2.0, 0.5, 2.0  # seconds, of the largest
_FIRST_SERIES = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
INSERT INTO value (series_id, day, metric_id, epoch, value, fetched_at)
SELECT 1, date('2014-01-01', '+' || d.i || ' days'), m.i, 1388552400 + 86400 * d.i, m.i, 1388552400 + 86400 * d.i
FROM n AS d JOIN n AS m ON m.i < ? ORDER BY d.i, m.i
"""
_OTHER_SERIES = "INSERT INTO value SELECT ?, day, metric_id, epoch, value, fetched_at FROM value WHERE series_id = 1"


def measure() -> Iterator[Row]:
    yield from _planning()
    with tempfile.TemporaryDirectory() as name:
        yield from _ticks(Path(name))
    with tempfile.TemporaryDirectory() as name:
        yield from _statuses(Path(name))


def plan(series: int) -> Plan:
    """Plan ten years of `series` phones, a month per request."""
    rules = Rules(NEW_YORK, date(2024, 1, 1), SETTLE_DAYS)
    desires = [
        Desire(Series("main", "performance", f"8005{number:06}", Period.DAY), date(2014, 1, 1), date(2023, 12, 31))
        for number in range(series)
    ]
    return plan_slices(desires, Stored({}, {}), rules, {("performance", Period.DAY): MONTH})


def _planning() -> Iterator[Row]:
    before = _timed(lambda: plan(1))
    for series in (10, 100, 1000):
        took = _timed(lambda count=series: plan(count))  # type: ignore[misc]
        slices = len(plan(series).slices)
        remarks = f"within {PLAN_WITHIN:g} s" if series == 1000 else ""
        yield Row(f"plan of {slices:,} slices / a tenth", took, before, remarks)
        before = took


def _timed(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        gc.collect()
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return median(times)


def _ticks(directory: Path) -> Iterator[Row]:
    before = asyncio.run(_tick(directory, 1))
    for phones in (10, 100, 1000):
        took = asyncio.run(_tick(directory, phones))
        remarks = f"within {TICK_WITHIN:g} s" if phones == 1000 else ""
        yield Row(f"nothing to do for {phones:,} series / a tenth", took, before, remarks)
        before = took


async def _tick(directory: Path, phones: int) -> float:
    settings = _settings(directory, phones)
    account = settings.accounts["main"]
    database = Database(settings.database.url)
    try:
        store = await database.claim(identity_of(account, settings))
        if not isinstance(store, AccountStore):
            raise SystemExit(f"bench: {store}")
        _fill(Path(settings.database.url.removeprefix("sqlite:///")), phones)
        series = configured_series(account)
        times = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            stored = StoredSeries(coverage=await store.coverage(series), failed=await store.failed(series))
            now = time.time()
            rules = Rules(account.calendar, account.calendar.local_date(now), SETTLE_DAYS)
            limit_trackers = {("performance", Period.DAY): RangeLimitTracker(RangeLimits(), 366)}
            found = plan_reconcile(
                account, rules, stored, limit_trackers, provisional=_provisional(stored), ordered={}, now=now
            )
            times.append(time.perf_counter() - begun)
            if found.plan.slices:
                raise SystemExit(f"bench: something to do: {found.plan.slices[0]}")
        await store.release()
    finally:
        await database.close()
    return median(times)


def _provisional(stored: StoredSeries) -> ProvisionalDays:
    """Return what the tick before has fetched: the last stretch of each series, not final yet."""
    days = ProvisionalDays()
    for series, stretches in stored.coverage.items():
        days.spans[series] = [Span(stretch.first, stretch.last) for stretch in stretches[1:]]
    return days


def _settings(directory: Path, phones: int) -> config.Settings:
    start = date.today() - timedelta(days=365 * YEARS)  # noqa: DTZ011 - any day ten years ago will do
    numbers = [f"8005{number:06}" for number in range(phones)]
    tables = configuration("http://127.0.0.1:1/api", f"sqlite:///{directory}/{phones}.db", phones=numbers)
    tables["accounts.main"]["start"] = str(start)
    file = directory / "config.toml"
    file.write_text(toml(tables))
    file.chmod(0o600)
    return config.load(file, dict(os.environ), cwd=directory, home=directory)


def _fill(file: Path, phones: int, stretches: int = SETTLE_DAYS) -> None:
    """Insert ten years of coverage, and the provisional days one by one."""
    today = datetime.now(UTC).astimezone(NEW_YORK.zone).date()
    start = today - timedelta(days=365 * YEARS + 1)
    provisional_from = today - timedelta(days=stretches)
    spans = [(start, provisional_from - timedelta(days=1), SETTLE_DAYS)]
    spans += [
        (provisional_from + timedelta(days=n), provisional_from + timedelta(days=n), stretches - n - 1)
        for n in range(stretches + 1)
    ]
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        account = connection.execute("SELECT id FROM account").fetchone()[0]
        numbers = [(n + 1, account, "performance", f"8005{n:06}", "day") for n in range(phones)]
        connection.executemany(
            "INSERT INTO series (id, account_id, resource, phone, period) VALUES (?,?,?,?,?)", numbers
        )
        connection.executemany(
            "INSERT INTO coverage (series_id, first_day, last_day, asked_on, lag) VALUES (?, ?, ?, ?, ?)",
            [(row[0], str(a), str(b), str(today), lag) for row in numbers for a, b, lag in spans],
        )


def _statuses(directory: Path) -> Iterator[Row]:
    before: float | None = None
    for values in (200_000, 2_000_000, 20_000_000):
        took = _status(directory, values)
        if before is not None:
            remarks = f"within {STATUS_WITHIN:g} s" if values == 20_000_000 else ""
            yield Row(f"status on {values:,} values / a tenth", took, before, remarks)
        before = took


def _status(directory: Path, values: int) -> float:
    """Measure `status` with five metrics: a thousand series hold 18 million values."""
    metrics = 5
    phones = values // (365 * YEARS * metrics)
    settings = _settings(directory, phones)
    file = Path(settings.database.url.removeprefix("sqlite:///"))
    asyncio.run(_claim(settings))
    _fill(file, phones)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.execute(_FIRST_SERIES, (365 * YEARS, metrics))
        connection.executemany(_OTHER_SERIES, [(number,) for number in range(2, phones + 1)])
        connection.execute("COMMIT")
    took = median(run([*HARVESTER, "status", "--json"], directory).seconds for _ in range(ROUNDS))
    file.unlink()
    return took


async def _claim(settings: config.Settings) -> None:
    database = Database(settings.database.url)
    try:
        await database.claim(identity_of(settings.accounts["main"], settings))
    finally:
        await database.close()


if __name__ == "__main__":
    held_in_memory = plan(int(sys.argv[1]))  # for bench.memory
