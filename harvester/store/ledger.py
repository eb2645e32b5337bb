"""A series' coverage and failed slices: read once, changed in memory, the difference written.

An account has one spender, so no other process of ours writes these rows and what was read may be kept. It is
forgotten where it may be wrong: a transaction failed, or a new plan begins from what the tables hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from harvester.core.coverage import lag_of, overlay, stretch_of
from harvester.core.model import FailedSlice, Series, Slice, Stretch
from harvester.core.period import ONE_DAY, Calendar
from harvester.store.bulk import Day, Row, day_adapter, read_each, run_all

if TYPE_CHECKING:
    from sqlalchemy import Connection

_READ_COVERAGE = "SELECT first_day, last_day, asked_on, lag FROM coverage WHERE series_id = ? ORDER BY first_day"
_READ_FAILED = (
    "SELECT first_day, last_day, error_code, error, failed_at, attempts FROM failed_slice WHERE series_id = ?"
)
_READ_HELD = (  # four looks into keys: one min() and max() together would read every row
    "SELECT (SELECT min(day) FROM value WHERE series_id = ?), (SELECT max(day) FROM value WHERE series_id = ?),"
    " (SELECT min(day) FROM absence WHERE series_id = ?), (SELECT max(day) FROM absence WHERE series_id = ?)"
)
_DELETE_COVERAGE = "DELETE FROM coverage WHERE series_id = ? AND first_day = ?"
_DELETE_FAILED = "DELETE FROM failed_slice WHERE series_id = ? AND first_day = ?"
_INSERT_COVERAGE = "INSERT INTO coverage (series_id, first_day, last_day, asked_on, lag) VALUES (?, ?, ?, ?, ?)"
_INSERT_FAILED = (
    "INSERT INTO failed_slice (series_id, first_day, last_day, error_code, error, failed_at, attempts)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class Failed(NamedTuple):
    """A failed slice of a series, as stored."""

    first: date
    last: date
    code: str
    error: str
    failed_at: int
    attempts: int


def as_date(day: Day) -> date:
    """A driver's DATE as Python's."""
    return day if isinstance(day, date) else date.fromisoformat(day)


class Ledgers:
    """The ledgers of an account's series that were met since the last plan.

    Args:
        calendar: the account's.
        settle_days: the account's.
    """

    def __init__(self, calendar: Calendar, settle_days: int) -> None:
        self._calendar = calendar
        self._settle_days = settle_days
        self._known: dict[Series, SeriesLedger] = {}

    def forget(self) -> None:
        """Read everything again the next time."""
        self._known.clear()

    def of(self, connection: Connection, series: Mapping[Series, int]) -> dict[Series, SeriesLedger]:
        """The ledgers of these series, each given with its number."""
        missing = {one: number for one, number in series.items() if one not in self._known}
        if missing:
            self._known |= self._read(connection, missing)
        return {one: self._known[one] for one in series}

    def _read(self, connection: Connection, series: Mapping[Series, int]) -> dict[Series, SeriesLedger]:
        numbers = [(number,) for number in series.values()]
        coverage = read_each(connection, _READ_COVERAGE, numbers)
        failed = read_each(connection, _READ_FAILED, numbers)
        held = read_each(connection, _READ_HELD, [one * 4 for one in numbers])
        return {
            one: SeriesLedger(
                one,
                number,
                self._calendar,
                self._settle_days,
                [Stretch(as_date(row[0]), as_date(row[1]), as_date(row[2]), row[3]) for row in stretches],
                [Failed(as_date(row[0]), as_date(row[1]), *row[2:]) for row in given_up],
                [as_date(day) for day in days if day is not None],
            )
            for (one, number), stretches, given_up, (days,) in zip(series.items(), coverage, failed, held, strict=True)
        }


def write_ledgers(connection: Connection, ledgers: Iterable[SeriesLedger]) -> None:
    """Bring the tables to what is known now; rows that stay are not touched."""
    adapted = day_adapter(connection)
    gone: list[Row] = []
    new: list[Row] = []
    gone_failed: list[Row] = []
    new_failed: list[Row] = []
    for one in ledgers:
        number = one.series_id
        gone += [(number, adapted(stretch.first)) for stretch in one.dropped]
        new += [
            (number, *(adapted(day) for day in (stretch.first, stretch.last, stretch.asked_on)), stretch.lag)
            for stretch in one.added
        ]
        gone_failed += [(number, adapted(slice_.first)) for slice_ in one.no_more_failed]
        new_failed += [
            (number, adapted(slice_.first), adapted(slice_.last), *slice_[2:]) for slice_ in one.newly_failed
        ]
        one.written()
    run_all(
        connection,
        [
            (_DELETE_COVERAGE, gone),
            (_INSERT_COVERAGE, new),
            (_DELETE_FAILED, gone_failed),
            (_INSERT_FAILED, new_failed),
        ],
    )


class SeriesLedger:
    """What has become of one series' slices.

    Args:
        series: whose ledger it is.
        series_id: its number.
        calendar: the account's.
        settle_days: the account's.
        coverage: as stored, in order.
        failed: as stored.
        held: the first and the last day of values and of absences, as stored; none where nothing is.
    """

    def __init__(
        self,
        series: Series,
        series_id: int,
        calendar: Calendar,
        settle_days: int,
        coverage: list[Stretch],
        failed: list[Failed],
        held: list[date],
    ) -> None:
        self.series_id = series_id
        self._series = series
        self._calendar = calendar
        self._settle_days = settle_days
        self._coverage = coverage
        self._failed = failed
        self._held = held
        self._coverage_before: frozenset[Stretch] = frozenset()
        self._failed_before: frozenset[Failed] = frozenset()
        self.written()

    def written(self) -> None:
        """The tables hold what is known now."""
        self._coverage_before = frozenset(self._coverage)
        self._failed_before = frozenset(self._failed)

    def asked_on(self, day: date) -> date | None:
        """A local day on which the period that begins on `day` was asked for last, or an earlier one; None: never."""
        for stretch in self._coverage:
            if stretch.first <= day <= stretch.last:
                period = self._series.period
                lag = lag_of(stretch, day, period, self._calendar)
                return date.fromordinal(self._calendar.following(period, day).toordinal() + lag)
        return None

    def may_hold(self, piece: Slice) -> bool:
        """Whether a value or an absence may be stored of these days: not of those older or newer than all that are."""
        return bool(self._held) and piece.last >= min(self._held) and piece.first <= max(self._held)

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
        self._held = [min([*self._held, piece.first]), max([*self._held, piece.last])]

    def failed(self, failure: FailedSlice, error: str, at: int) -> None:
        """This slice was given up at this epoch second."""
        first, last = failure.slice.first, failure.slice.last
        attempts = self._remove_failed(first, last)
        self._failed.append(Failed(first, last, failure.code, error, at, attempts + 1))

    @property
    def dropped(self) -> frozenset[Stretch]:
        """Stored stretches that are no more."""
        return self._coverage_before.difference(self._coverage)

    @property
    def added(self) -> frozenset[Stretch]:
        """Stretches that are not stored yet."""
        return frozenset(self._coverage) - self._coverage_before

    @property
    def no_more_failed(self) -> frozenset[Failed]:
        """Stored failed slices that are no more."""
        return self._failed_before.difference(self._failed)

    @property
    def newly_failed(self) -> frozenset[Failed]:
        """Failed slices that are not stored yet."""
        return frozenset(self._failed) - self._failed_before

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
