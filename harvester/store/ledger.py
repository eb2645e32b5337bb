"""A series' coverage and failed slices, read once per transaction, changed in memory, the difference written."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from harvester.core.coverage import lag_of, overlay, stretch_of
from harvester.core.model import Stretch
from harvester.core.period import ONE_DAY
from harvester.store.session import placeholders, run_many

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from harvester.core.model import FailedSlice, Series, Slice
    from harvester.core.period import Calendar

Day = str | date  # a DATE as the driver takes and gives it: ISO text in SQLite

_READ_COVERAGE = "SELECT first_day, last_day, asked_on, lag FROM coverage WHERE series_id = ? ORDER BY first_day"
_READ_FAILED = "SELECT first_day, last_day, error, failed_at, attempts FROM failed_slice WHERE series_id = ?"


class Failed(NamedTuple):
    """A failed slice of a series, as stored."""

    first: date
    last: date
    error: str
    failed_at: int
    attempts: int


def as_date(day: Day) -> date:
    """A driver's DATE as Python's."""
    return day if isinstance(day, date) else date.fromisoformat(day)


class SeriesLedger:
    """What has become of one series' slices.

    Args:
        connection: in a transaction, which `write` ends in.
        series: whose ledger it is.
        series_id: its number.
        calendar: the account's.
        settle_days: the account's.
    """

    def __init__(
        self, connection: Connection, series: Series, series_id: int, calendar: Calendar, settle_days: int
    ) -> None:
        self.series_id = series_id
        self._connection = connection
        self._series = series
        self._calendar = calendar
        self._settle_days = settle_days
        found = connection.exec_driver_sql(placeholders(connection, _READ_COVERAGE), (series_id,)).all()
        self._coverage = [Stretch(as_date(row[0]), as_date(row[1]), as_date(row[2]), row[3]) for row in found]
        found = connection.exec_driver_sql(placeholders(connection, _READ_FAILED), (series_id,)).all()
        self._failed = [Failed(as_date(row[0]), as_date(row[1]), *row[2:]) for row in found]
        self._coverage_before = tuple(self._coverage)
        self._failed_before = tuple(self._failed)

    def asked_on(self, day: date) -> date | None:
        """A local day on which the period that begins on `day` was asked for last, or an earlier one; None: never."""
        for stretch in self._coverage:
            if stretch.first <= day <= stretch.last:
                period = self._series.period
                lag = lag_of(stretch, day, period, self._calendar)
                return date.fromordinal(self._calendar.following(period, day).toordinal() + lag)
        return None

    def answered(self, piece: Slice, asked_on: date) -> None:
        """An answer to this slice, asked for on this local day, is stored: no part of it is failed any more."""
        self._coverage = overlay(
            self._coverage,
            stretch_of(piece, asked_on, self._calendar),
            period=self._series.period,
            calendar=self._calendar,
            settle_days=self._settle_days,
        )
        self._remove_failed(piece.first, piece.last)

    def failed(self, failure: FailedSlice, error: str, at: int) -> None:
        """This slice was given up at this epoch second."""
        first, last = failure.slice.first, failure.slice.last
        attempts = self._remove_failed(first, last)
        self._failed.append(Failed(first, last, error, at, attempts + 1))

    def write(self) -> None:
        """Bring the tables to what is known now; rows that stay are not touched."""
        before, after = set(self._coverage_before), set(self._coverage)
        self._replace("coverage", [one.first for one in before - after])
        run_many(
            self._connection,
            "INSERT INTO coverage (series_id, first_day, last_day, asked_on, lag) VALUES (?, ?, ?, ?, ?)",
            [
                (self.series_id, self._day(one.first), self._day(one.last), self._day(one.asked_on), one.lag)
                for one in after - before
            ],
        )
        gone, new = set(self._failed_before) - set(self._failed), set(self._failed) - set(self._failed_before)
        self._replace("failed_slice", [one.first for one in gone])
        run_many(
            self._connection,
            "INSERT INTO failed_slice (series_id, first_day, last_day, error, failed_at, attempts)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(self.series_id, self._day(one.first), self._day(one.last), *one[2:]) for one in new],
        )

    def _replace(self, table: str, first_days: list[date]) -> None:
        run_many(
            self._connection,
            f"DELETE FROM {table} WHERE series_id = ? AND first_day = ?",  # noqa: S608 - one of two constants
            [(self.series_id, self._day(day)) for day in first_days],
        )

    def _remove_failed(self, first: date, last: date) -> int:
        """Cut these days out of the failed slices; returns the most attempts that any of those had."""
        rest: list[Failed] = []
        attempts = 0
        for one in self._failed:
            if one.last < first or one.first > last:
                rest.append(one)
                continue
            attempts = max(attempts, one.attempts)
            if one.first < first:
                rest.append(one._replace(last=first - ONE_DAY))
            if one.last > last:
                rest.append(one._replace(first=last + ONE_DAY))
        self._failed = rest
        return attempts

    def _day(self, day: date) -> Day:
        return day.isoformat() if self._connection.dialect.name == "sqlite" else day
