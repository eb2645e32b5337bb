"""Ledger of a series: coverage, failed slices and unconfirmed absence, read once, changed in memory.

Only differences are written.

An account has one holder, so no other harvester writes these rows, and what was read stays valid. It is forgotten
when it may be wrong: after a failed transaction, and when a new plan starts from the tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection

from harvester.core.absence import AbsentSpan, update_absence
from harvester.core.coverage import lag_of, overlay, stretch_of
from harvester.core.model import FailedSlice, Series, Slice, Stretch
from harvester.core.period import ONE_DAY, Calendar
from harvester.database.bulk import Day, Row, day_adapter, read_each, run_all

_READ_COVERAGE = "SELECT first_day, last_day, asked_on, lag FROM coverage WHERE series_id = ? ORDER BY first_day"
_READ_FAILED = (
    "SELECT first_day, last_day, error_code, error, failed_at, attempts FROM failed_slice WHERE series_id = ?"
)
_READ_ABSENT = "SELECT first_day, last_day, seen_on, width FROM unconfirmed_absence WHERE series_id = ?"
_READ_BOUNDS = (  # four look-ups by key: min() and max() in one SELECT would read every row
    "SELECT (SELECT min(day) FROM value WHERE series_id = ?), (SELECT max(day) FROM value WHERE series_id = ?),"
    " (SELECT min(day) FROM absence WHERE series_id = ?), (SELECT max(day) FROM absence WHERE series_id = ?)"
)
_DELETE_COVERAGE = "DELETE FROM coverage WHERE series_id = ? AND first_day = ?"
_DELETE_FAILED = "DELETE FROM failed_slice WHERE series_id = ? AND first_day = ?"
_DELETE_ABSENT = "DELETE FROM unconfirmed_absence WHERE series_id = ? AND first_day = ?"
_INSERT_ABSENT = (
    "INSERT INTO unconfirmed_absence (series_id, first_day, last_day, seen_on, width) VALUES (?, ?, ?, ?, ?)"
)
_INSERT_COVERAGE = "INSERT INTO coverage (series_id, first_day, last_day, asked_on, lag) VALUES (?, ?, ?, ?, ?)"
_INSERT_FAILED = (
    "INSERT INTO failed_slice (series_id, first_day, last_day, error_code, error, failed_at, attempts)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class FailedSpan(NamedTuple):
    """The days of a failed slice, as stored of its series."""

    first: date
    last: date
    code: str  # HarvesterError.code
    error: str  # the message
    failed_at: int  # epoch second
    attempts: int


def as_date(day: Day) -> date:
    """Return a DATE of either driver as a date."""
    return day if isinstance(day, date) else date.fromisoformat(day)


class Ledgers:
    """The ledgers of an account's series, as far as they were used since the last plan.

    Args:
        calendar: of the account.
        settle_days: of the account.
    """

    def __init__(self, calendar: Calendar, settle_days: int) -> None:
        self._calendar = calendar
        self._settle_days = settle_days
        self._ledgers: dict[Series, SeriesLedger] = {}

    def forget(self) -> None:
        """Read every ledger from the tables again at its next use."""
        self._ledgers.clear()

    def of(self, connection: Connection, series: Mapping[Series, int]) -> dict[Series, SeriesLedger]:
        """Return the ledgers of these series, which are given with their ids."""
        missing = {one: series_id for one, series_id in series.items() if one not in self._ledgers}
        if missing:
            self._ledgers |= self._read(connection, missing)
        return {one: self._ledgers[one] for one in series}

    def _read(self, connection: Connection, series: Mapping[Series, int]) -> dict[Series, SeriesLedger]:
        keys = [(series_id,) for series_id in series.values()]
        coverage = read_each(connection, _READ_COVERAGE, keys)
        failed = read_each(connection, _READ_FAILED, keys)
        absent = read_each(connection, _READ_ABSENT, keys)
        bounds = read_each(connection, _READ_BOUNDS, [key * 4 for key in keys])
        return {
            one: SeriesLedger(
                one,
                series_id,
                self._calendar,
                self._settle_days,
                [Stretch(as_date(row[0]), as_date(row[1]), as_date(row[2]), row[3]) for row in stretches],
                [FailedSpan(as_date(row[0]), as_date(row[1]), *row[2:]) for row in spans],
                [AbsentSpan(as_date(row[0]), as_date(row[1]), as_date(row[2]), row[3]) for row in doubts],
                [as_date(day) for day in days if day is not None],
            )
            for (one, series_id), stretches, spans, doubts, (days,) in zip(
                series.items(), coverage, failed, absent, bounds, strict=True
            )
        }


def write_ledgers(connection: Connection, ledgers: Iterable[SeriesLedger]) -> None:
    """Write the ledgers to the tables; rows that did not change are not touched."""
    adapt = day_adapter(connection)
    removed: list[Row] = []
    new: list[Row] = []
    removed_failed: list[Row] = []
    new_failed: list[Row] = []
    removed_absent: list[Row] = []
    new_absent: list[Row] = []
    for ledger in ledgers:
        key = ledger.series_id
        removed += [(key, adapt(stretch.first)) for stretch in ledger.removed_stretches]
        new += [
            (key, *(adapt(day) for day in (stretch.first, stretch.last, stretch.asked_on)), stretch.lag)
            for stretch in ledger.new_stretches
        ]
        removed_failed += [(key, adapt(span.first)) for span in ledger.removed_failures]
        new_failed += [(key, adapt(span.first), adapt(span.last), *span[2:]) for span in ledger.new_failures]
        removed_absent += [(key, adapt(span.first)) for span in ledger.removed_absence]
        new_absent += [(key, *map(adapt, span[:3]), span.width) for span in ledger.new_absence]
        ledger.mark_written()
    run_all(
        connection,
        [
            (_DELETE_COVERAGE, removed),
            (_INSERT_COVERAGE, new),
            (_DELETE_FAILED, removed_failed),
            (_INSERT_FAILED, new_failed),
            (_DELETE_ABSENT, removed_absent),
            (_INSERT_ABSENT, new_absent),
        ],
    )


class SeriesLedger:
    """The coverage, the failed slices and the unconfirmed absence of one series.

    Args:
        series: the series.
        series_id: its id in the database.
        calendar: of the account.
        settle_days: of the account.
        coverage: as stored, in order.
        failed: as stored.
        absent: unconfirmed absence, as stored.
        bounds: the first and the last day of the stored values and absences; empty if nothing is stored.
    """

    def __init__(
        self,
        series: Series,
        series_id: int,
        calendar: Calendar,
        settle_days: int,
        coverage: list[Stretch],
        failed: list[FailedSpan],
        absent: list[AbsentSpan],
        bounds: list[date],
    ) -> None:
        self.series_id = series_id
        self._series = series
        self._calendar = calendar
        self._settle_days = settle_days
        self._coverage = coverage
        self._failed = failed
        self._absent = absent
        self._bounds = bounds
        self._coverage_before: frozenset[Stretch] = frozenset()
        self._failed_before: frozenset[FailedSpan] = frozenset()
        self._absent_before: frozenset[AbsentSpan] = frozenset()
        self.mark_written()

    def mark_written(self) -> None:
        """Take the present state as the one in the tables."""
        self._coverage_before = frozenset(self._coverage)
        self._failed_before = frozenset(self._failed)
        self._absent_before = frozenset(self._absent)

    def asked_on(self, day: date) -> date | None:
        """Return a lower bound of the local day of the last request for the period at `day`; None if there was none."""
        for stretch in self._coverage:
            if stretch.first <= day <= stretch.last:
                period = self._series.period
                lag = lag_of(stretch, day, period, self._calendar)
                return date.fromordinal(self._calendar.following(period, day).toordinal() + lag)
        return None

    def may_overlap(self, piece: Slice) -> bool:
        """Return False if all stored values and absences are older or newer than these days."""
        return bool(self._bounds) and piece.last >= min(self._bounds) and piece.first <= max(self._bounds)

    def add_answer(
        self, piece: Slice, asked_on: date, absent: Sequence[date] = (), absent_before: Collection[date] = ()
    ) -> None:
        """Cover this slice, requested on this local day; no part of it counts as failed any more.

        Args:
            piece: the slice.
            asked_on: the local day of the request.
            absent: first days of the periods that the answer lacks.
            absent_before: those that the answer before it lacked.
        """
        following = self._calendar.following
        ended_before = {
            day
            for day in absent
            if day in absent_before
            and (asked := self.asked_on(day)) is not None
            and asked >= following(piece.series.period, day)
        }
        self._absent = update_absence(self._absent, piece, asked_on, absent, ended_before, self._calendar)
        self._coverage = overlay(
            self._coverage,
            stretch_of(piece, asked_on, self._calendar),
            period=self._series.period,
            calendar=self._calendar,
            settle_days=self._settle_days,
        )
        self._remove_failed(piece.first, piece.last)
        self._bounds = [min([*self._bounds, piece.first]), max([*self._bounds, piece.last])]

    def add_failure(self, failure: FailedSlice, error: str, failed_at: int) -> None:
        """Add a failed slice, with its message as stored and the epoch second of its end."""
        first, last = failure.slice.first, failure.slice.last
        attempts = self._remove_failed(first, last)
        self._failed.append(FailedSpan(first, last, failure.code, error, failed_at, attempts + 1))

    @property
    def removed_stretches(self) -> frozenset[Stretch]:
        """Stretches in the tables that the ledger no longer contains."""
        return self._coverage_before.difference(self._coverage)

    @property
    def new_stretches(self) -> frozenset[Stretch]:
        """Stretches that are not in the tables yet."""
        return frozenset(self._coverage) - self._coverage_before

    @property
    def removed_failures(self) -> frozenset[FailedSpan]:
        """Failed spans in the tables that the ledger no longer contains."""
        return self._failed_before.difference(self._failed)

    @property
    def new_failures(self) -> frozenset[FailedSpan]:
        """Failed spans that are not in the tables yet."""
        return frozenset(self._failed) - self._failed_before

    @property
    def removed_absence(self) -> frozenset[AbsentSpan]:
        """Spans of unconfirmed absence in the tables that the ledger no longer contains."""
        return self._absent_before.difference(self._absent)

    @property
    def new_absence(self) -> frozenset[AbsentSpan]:
        """Spans of unconfirmed absence that are not in the tables yet."""
        return frozenset(self._absent) - self._absent_before

    def _remove_failed(self, first: date, last: date) -> int:
        """Cut these days out of the failed spans; return the highest number of attempts among those touched."""
        remaining: list[FailedSpan] = []
        attempts = 0
        for one in self._failed:
            if one.last < first or one.first > last:
                remaining.append(one)
                continue
            attempts = max(attempts, one.attempts)
            if one.first < first:
                remaining.append(one._replace(last=first - ONE_DAY))
            if one.last > last:
                remaining.append(one._replace(first=last + ONE_DAY))
        self._failed = remaining
        return attempts
