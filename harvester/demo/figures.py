"""Figures of the demonstration, read through the same views that users query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from harvester.core.period import ONE_DAY, Period
from harvester.demo.setting import ACCOUNT, DAYS
from harvester.store.reader import Reader


@dataclass(slots=True)
class PhoneYear:
    """Sums of one number over the year."""

    phone: str
    name: str
    days: int = 0
    calls: int = 0
    errors: int = 0
    load_seconds: float = 0.0  # page load, summed over all calls

    @property
    def calls_per_day(self) -> float:
        """The average number of calls per day."""
        return self.calls / self.days if self.days else 0.0

    @property
    def errors_per_100_calls(self) -> float:
        """The average number of errors in 100 calls."""
        return 100 * self.errors / self.calls if self.calls else 0.0

    @property
    def page_load(self) -> float:
        """The average page load of a call, in seconds."""
        return self.load_seconds / self.calls if self.calls else 0.0

    def add(self, row: Mapping[str, object]) -> None:
        """Add a row of one day."""
        calls = _number(row["calls"])
        self.days += 1
        self.calls += int(calls)
        self.errors += int(_number(row["js_errors"]) + _number(row["fetch_errors"]))
        self.load_seconds += calls * _number(row["average_page_load"])


@dataclass(frozen=True, slots=True)
class Year:
    """Sums of every number, and the calls of each day."""

    phones: list[PhoneYear]
    calls: dict[date, int]

    def newest(self, count: int) -> list[tuple[date, int]]:
        """Return the last `count` days with their calls, in order and without gaps."""
        if not self.calls:
            return []
        last = max(self.calls)
        days = [last - back * ONE_DAY for back in reversed(range(count))]
        return [(day, self.calls.get(day, 0)) for day in days]


def read(database: Path, last: date) -> Year:
    """Return the year that ends on `last`.

    Raises:
        StoreError: the database cannot be read.
    """
    with Reader(f"sqlite:///{database}") as reader:
        first = last - (DAYS - 1) * ONE_DAY
        found = reader.export("performance", period=Period.DAY, first=first, last=last, accounts=[ACCOUNT])
        return tally(dict(zip(found.columns, row, strict=True)) for row in found.rows)


def tally(rows: Iterable[Mapping[str, object]]) -> Year:
    """Return the sums of rows of the view `performance`, whose dates are ISO text."""
    phones: dict[str, PhoneYear] = {}
    calls: defaultdict[date, int] = defaultdict(int)
    for row in rows:
        phone = str(row["phone"])
        year = phones.setdefault(phone, PhoneYear(phone, str(row["phone_name"] or "")))
        year.add(row)
        calls[date.fromisoformat(str(row["local_date"]))] += int(_number(row["calls"]))
    return Year(list(phones.values()), dict(calls))


def _number(cell: object) -> float:
    """Return a cell as a number; NULL counts as 0."""
    return float(cell) if isinstance(cell, int | float) else 0.0
