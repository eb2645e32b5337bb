"""Answers into tables: what is new is inserted, what differs is updated, what is the same is not touched.

An answer never erases. A stored value that the newest answer to its period lacks stays, and a row in `absence`
remembers when an answer last held it. A value that differs from what an answer sent after its period's end had held
is a revision. A range that holds nothing yet, the common case of a backfill, takes no look-up per value.

Values travel past SQLAlchemy's compiler: as tuples to SQLite, by COPY to PostgreSQL. That is safe without a conflict
clause, because nobody else writes this account's values (store.lock) and stored ones were read in this transaction.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from harvester.core.model import RowCounts
from harvester.failpoints import Step, step
from harvester.store.ledger import Day, SeriesLedger, as_date
from harvester.store.names import Metric
from harvester.store.schema import NO_METRIC
from harvester.store.session import placeholders, run_many

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from sqlalchemy import Connection

    from harvester.core.model import Batch, FailedSlice, Reject, Series
    from harvester.core.period import Calendar
    from harvester.store.names import Names

_Key = tuple[Day, int]  # a period's first day, a metric
_Row = tuple[int, Day, int, int, float | None, int]  # series, day, metric, epoch, value, fetched_at

_LONGEST_TEXT = 500
_VALUE_TYPES = ("int4", "date", "int4", "int8", "float8", "int8")
_COPY = "COPY value (series_id, day, metric_id, epoch, value, fetched_at) FROM STDIN (FORMAT BINARY)"
_INSERT = "INSERT INTO value (series_id, day, metric_id, epoch, value, fetched_at) VALUES (?, ?, ?, ?, ?, ?)"
_UPDATE = "UPDATE value SET epoch = ?, value = ?, fetched_at = ? WHERE series_id = ? AND day = ? AND metric_id = ?"
_READ = "SELECT day, metric_id, value, fetched_at FROM value WHERE series_id = ? AND day BETWEEN ? AND ?"
_READ_ABSENT = "SELECT day, metric_id, held_on FROM absence WHERE series_id = ? AND day BETWEEN ? AND ?"
_DELETE_ABSENT = "DELETE FROM absence WHERE series_id = ? AND day = ? AND metric_id = ?"
_INSERT_ABSENT = "INSERT INTO absence (series_id, day, metric_id, held_on) VALUES (?, ?, ?, ?)"
_INSERT_REVISION = (
    "INSERT INTO revision (series_id, day, metric_id, epoch, old_value, new_value, changed_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_REJECT = (
    "INSERT INTO reject (series_id, digest, metric, timestamp, value, reason, seen_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)


@step(Step.WRITE)
def store_answers(
    connection: Connection,
    names: Names,
    calendar: Calendar,
    settle_days: int,
    batches: Sequence[Batch],
    failures: Sequence[tuple[FailedSlice, int]],
) -> RowCounts:
    """Store answers and what became of their slices, within the caller's transaction.

    Args:
        connection: in a transaction.
        names: the account's numbers.
        calendar: the account's.
        settle_days: the account's.
        batches: answers; the later one of two about the same period counts.
        failures: slices given up, each with the epoch second.
    """
    concerned = [batch.slice.series for batch in batches] + [failure.slice.series for failure, _ in failures]
    series = names.series(connection, concerned)
    metrics = names.metrics(
        connection, {Metric(batch.slice.series.resource, name) for batch in batches for name in batch.values}
    )
    ledgers: dict[Series, SeriesLedger] = {
        one: SeriesLedger(connection, one, series[one], calendar, settle_days) for one in dict.fromkeys(concerned)
    }
    counts = RowCounts()
    for batch in batches:
        ledger = ledgers[batch.slice.series]
        ids = {name: metrics[Metric(batch.slice.series.resource, name)] for name in batch.values}
        counts.add(_Answer(connection, batch, ids, ledger, calendar).store())
        ledger.answered(batch.slice, calendar.local_date(batch.sent_at))
    for failure, at in failures:
        ledgers[failure.slice.series].failed(failure, plain(failure.error), at)
    for ledger in ledgers.values():
        ledger.write()
    return counts


def plain(text: str, longest: int | None = _LONGEST_TEXT) -> str:
    """The text as both databases can hold it: no NUL, no half of a surrogate pair, not endless (None: as it is)."""
    return text[:longest].encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")


class _Answer:
    """One answer on its way into the tables."""

    def __init__(
        self, connection: Connection, batch: Batch, ids: Mapping[str, int], ledger: SeriesLedger, calendar: Calendar
    ) -> None:
        self._connection = connection
        self._batch = batch
        self._ids = ids
        self._ledger = ledger
        self._calendar = calendar
        self._sqlite = connection.dialect.name == "sqlite"
        self._range = (ledger.series_id, self._day(batch.slice.first), self._day(batch.slice.last))
        self._stored: dict[int, dict[Day, float | None]] = {}
        self._fetched_at: dict[_Key, int] = {}
        self._absent_before: dict[_Key, Day | None] = {}

    def store(self) -> RowCounts:
        """Write what is new in it."""
        rows = self._read(_READ)
        stored: dict[int, dict[Day, float | None]] = defaultdict(dict)
        for day, metric, number, _ in rows:
            stored[metric][day] = number
        self._stored = stored
        self._absent_before = {(row[0], row[1]): row[2] for row in self._read(_READ_ABSENT)}
        new, changed, lacking = self._compare()
        if changed or lacking:
            self._fetched_at = {(row[0], row[1]): row[3] for row in rows}
        self._insert(new)
        self._update(changed)
        self._write_absences(lacking)
        self._write_rejects(self._batch.rejects)
        total = sum(map(len, self._batch.values.values()))
        return RowCounts(
            new=len(new),
            changed=len(changed),
            unchanged=total - len(new) - len(changed),
            rejected=len(self._batch.rejects),
            absent=len(self._batch.absent),
        )

    def _compare(self) -> tuple[list[_Row], list[_Row], list[_Key]]:
        """The rows to insert, those to update, and the stored values that the answer lacks."""
        series, sent_at = self._ledger.series_id, self._batch.sent_at
        days = {epoch: self._day(day) for epoch, day in self._batch.grid.items()}
        new: list[_Row] = []
        changed: list[_Row] = []
        answered: dict[int, dict[Day, float | None]] = {}
        for name, pairs in self._batch.values.items():
            metric = self._ids[name]
            known = self._stored.get(metric)
            if not known:
                new += [(series, days[epoch], metric, epoch, number, sent_at) for epoch, number in pairs]
                continue
            answer = answered[metric] = {days[epoch]: number for epoch, number in pairs}
            if answer == known:
                continue
            rows = [(series, days[epoch], metric, epoch, number, sent_at) for epoch, number in pairs]
            new += [row for row in rows if row[1] not in known]
            changed += [row for row in rows if known.get(row[1], row[4]) != row[4]]
        lacking = [
            (day, metric)
            for metric, known in self._stored.items()
            if answered.get(metric) != known
            for day in known.keys() - answered.get(metric, {}).keys()
        ]
        return new, changed, lacking

    def _insert(self, rows: list[_Row]) -> None:
        if not rows:
            return
        if self._sqlite:
            rows.sort(key=_place)  # by the key, as the tree grows
            run_many(self._connection, _INSERT, rows)
            return
        driver: Any = self._connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(_VALUE_TYPES)
            for row in rows:
                copy.write_row(row)

    def _update(self, rows: list[_Row]) -> None:
        if not rows:
            return
        revisions = []
        for series, day, metric, epoch, number, sent_at in rows:
            first = as_date(day)
            held_on = self._held_on(day, metric)
            if held_on >= self._calendar.following(self._batch.slice.series.period, first):
                revisions.append((series, day, metric, epoch, self._stored[metric][day], number, sent_at))
        run_many(self._connection, _UPDATE, [(*row[3:], *row[:3]) for row in rows])
        run_many(self._connection, _INSERT_REVISION, revisions)

    def _write_absences(self, lacking: list[_Key]) -> None:
        wanted: set[_Key] = {(self._day(day), NO_METRIC) for day in self._batch.absent}
        wanted.update(lacking)
        before = self._absent_before
        series = self._ledger.series_id
        run_many(self._connection, _DELETE_ABSENT, [(series, *key) for key in before.keys() - wanted])
        rows = []
        for day, metric in wanted - before.keys():
            held_on = None if metric == NO_METRIC else self._day(self._held_on(day, metric))
            rows.append((series, day, metric, held_on))
        run_many(self._connection, _INSERT_ABSENT, rows)

    def _held_on(self, day: Day, metric: int) -> date:
        """The local day on which an answer held a stored value last, as late as can be shown."""
        noted = self._absent_before.get((day, metric))
        if noted is not None:
            return as_date(noted)
        came = self._calendar.local_date(self._fetched_at[day, metric])
        asked = self._ledger.asked_on(as_date(day))
        return max(came, asked) if asked is not None else came

    def _write_rejects(self, rejects: Sequence[Reject]) -> None:
        rows = []
        for reject in rejects:
            texts = tuple(map(plain, reject))
            digest = blake2b("\0".join(texts).encode(), digest_size=8).digest()
            number = int.from_bytes(digest, "big", signed=True)
            rows.append((self._ledger.series_id, number, *texts, self._batch.sent_at))
        run_many(self._connection, _INSERT_REJECT, rows)

    def _read(self, statement: str) -> Sequence[Any]:
        return self._connection.exec_driver_sql(placeholders(self._connection, statement), self._range).all()

    def _day(self, day: date) -> Day:
        return day.isoformat() if self._sqlite else day


def _place(row: _Row) -> tuple[Any, int]:
    return row[1], row[2]
