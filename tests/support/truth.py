"""The rows that must be stored, computed from the simulator's world, and those in the public views."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from harvester.core.period import Calendar, Period
from harvester.simulator.world import World
from tests.support.databases import query

ROWS = """
SELECT account, resource, phone, period, epoch, period_start, local_date, metric, value, complete, final
FROM metric_values"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Series of one account over a range of days, all of them final."""

    first: date
    last: date
    periods: tuple[Period, ...]
    phones: tuple[str, ...]
    resources: tuple[str, ...] = ("performance",)
    account: str = "main"
    world: World = field(kw_only=True)

    def rows(self) -> Counter[tuple[Any, ...]]:
        """Return the rows expected in `metric_values`, in the form of `stored_rows`."""
        return Counter(
            row
            for resource in self.resources
            for phone in self.phones
            for period in self.periods
            for row in self._series(resource, phone, period)
        )

    def _series(self, resource: str, phone: str, period: Period) -> list[tuple[Any, ...]]:
        calendar, name = self.world.calendar, period.value
        first, last = calendar.floor(period, self.first), calendar.last(period, self.last)
        return [
            (
                *(self.account, resource, phone, name, epoch),
                *_moments(calendar, epoch),
                *(metric, float(value), True, True),
            )
            for metric, values in self.world.truth(resource, phone, period, first, last).items()
            for epoch, value in values.items()
        ]


@cache  # all phones and metrics have the same days
def _moments(calendar: Calendar, epoch: int) -> tuple[str, str]:
    moment = datetime.fromtimestamp(epoch, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S"), moment.astimezone(calendar.zone).date().isoformat()


def stored_rows(url: str) -> Counter[tuple[Any, ...]]:
    """Return every row of `metric_values`, its times as text; a row found twice is counted twice."""
    return Counter((*row[:5], _text(row[5]), _text(row[6]), *row[7:]) for row in query(url, ROWS))


@cache
def _text(moment: datetime | date | str) -> str:
    if isinstance(moment, datetime):
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return moment.isoformat() if isinstance(moment, date) else moment


def assert_harvested(url: str, *wanted: Wanted) -> None:
    """Assert that the views contain exactly the wanted rows, value by value."""
    expected: Counter[tuple[Any, ...]] = Counter()
    for one in wanted:
        expected += one.rows()
    stored = stored_rows(url)
    missing, surplus = expected - stored, stored - expected
    assert not missing, f"{missing.total()} of {expected.total()} rows are missing, such as {next(iter(missing))}"
    assert not surplus, f"{surplus.total()} rows too many, such as {next(iter(surplus))}"
    assert expected
