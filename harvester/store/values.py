"""Answers into tables: what is new is inserted, what differs is updated, what is the same is not touched.

An answer never erases. A stored value that the newest answer to its period lacks stays, and a row in `absence`
remembers when an answer last held it. A value that differs from what an answer sent after its period's end had held
is a revision. Days older or newer than all that a series holds, the common case of a backfill, take no look-up.

All answers of a transaction are compared first and written then, table by table, so that a transaction costs by what
changes and hardly by how many answers it holds. Two answers about one series never share a round of that: the later
one is compared with what the earlier one has written.

Values are inserted without a conflict clause. That is safe, because nobody else writes this account's values
(store.lock) and stored ones were read in this transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from typing import TYPE_CHECKING

from harvester.core.model import Batch, FailedSlice, RowCounts, Series
from harvester.failpoints import Step, step
from harvester.store.bulk import Day, Row, day_adapter, insert_many, read_each, run_all
from harvester.store.ids import IdCache, Metric
from harvester.store.ledger import Ledgers, SeriesLedger, as_date, write_ledgers
from harvester.store.schema import NO_METRIC

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from harvester.core.period import Calendar

_Key = tuple[Day, int]  # a period's first day, a metric
_Values = dict[int, dict[Day, float | None]]  # by metric and a period's first day

_LONGEST_TEXT = 500
_COLUMNS = "series_id, day, metric_id, epoch, value, fetched_at"
_TYPES = ("int4", "date", "int4", "int8", "float8", "int8")
_READ = "SELECT day, metric_id, value, fetched_at FROM value WHERE series_id = ? AND day BETWEEN ? AND ?"
_READ_ABSENT = "SELECT day, metric_id, held_on FROM absence WHERE series_id = ? AND day BETWEEN ? AND ?"
_UPDATE = "UPDATE value SET epoch = ?, value = ?, fetched_at = ? WHERE series_id = ? AND day = ? AND metric_id = ?"
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
    names: IdCache,
    ledgers: Ledgers,
    calendar: Calendar,
    batches: Sequence[Batch],
    failures: Sequence[tuple[FailedSlice, int]],
) -> RowCounts:
    """Store answers and what became of their slices, within the caller's transaction.

    Args:
        connection: in a transaction.
        names: the account's numbers.
        ledgers: the account's.
        calendar: the account's.
        batches: answers; the later one of two about the same period counts.
        failures: slices given up, each with the epoch second.
    """
    concerned = dict.fromkeys([batch.slice.series for batch in batches] + [one.slice.series for one, _ in failures])
    numbers = names.series(connection, concerned)
    metrics = names.metrics(
        connection, {Metric(batch.slice.series.resource, name) for batch in batches for name in batch.values}
    )
    met = ledgers.of(connection, {one: numbers[one] for one in concerned})
    counts = RowCounts()
    for some in _one_of_each_series(batches):
        answers = [_Answer(connection, batch, metrics, met[batch.slice.series], calendar) for batch in some]
        counts.add(_store(connection, answers))
        for batch in some:
            met[batch.slice.series].answered(batch.slice, calendar.local_date(batch.sent_at))
    for failure, at in failures:
        met[failure.slice.series].failed(failure, plain(failure.error), at)
    write_ledgers(connection, met.values())
    return counts


def plain(text: str, longest: int | None = _LONGEST_TEXT) -> str:
    """The text as both databases can hold it: no NUL, no half of a surrogate pair, not endless (None: as it is)."""
    return text[:longest].encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")


def _one_of_each_series(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """The answers in their order, parted wherever a series comes again."""
    some: dict[Series, Batch] = {}
    for batch in batches:
        if batch.slice.series in some:
            yield list(some.values())
            some = {}
        some[batch.slice.series] = batch
    if some:
        yield list(some.values())


def _store(connection: Connection, answers: Sequence[_Answer]) -> RowCounts:
    met_before = [answer for answer in answers if answer.may_be_stored]
    ranges = [answer.range for answer in met_before]
    stored, absent = read_each(connection, _READ, ranges), read_each(connection, _READ_ABSENT, ranges)
    for answer, rows, absences in zip(met_before, stored, absent, strict=True):
        answer.remember(rows, absences)
    changes, counts = _Changes(), RowCounts()
    for answer in answers:
        counts.add(answer.compare(changes))
    changes.write(connection)
    return counts


@dataclass(slots=True)
class _Changes:
    """Rows to be written, as each statement takes them."""

    new: list[Row] = field(default_factory=list)
    updated: list[Row] = field(default_factory=list)
    revisions: list[Row] = field(default_factory=list)
    no_more_absent: list[Row] = field(default_factory=list)
    newly_absent: list[Row] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)

    def write(self, connection: Connection) -> None:
        """Carry them out."""
        insert_many(connection, "value", _COLUMNS, _TYPES, self.new)
        run_all(
            connection,
            [
                (_UPDATE, self.updated),
                (_INSERT_REVISION, self.revisions),
                (_DELETE_ABSENT, self.no_more_absent),
                (_INSERT_ABSENT, self.newly_absent),
                (_INSERT_REJECT, self.rejects),
            ],
        )


class _Answer:
    """One answer beside what is stored of its range."""

    def __init__(
        self,
        connection: Connection,
        batch: Batch,
        metrics: Mapping[Metric, int],
        ledger: SeriesLedger,
        calendar: Calendar,
    ) -> None:
        self._batch = batch
        self._ids = {name: metrics[Metric(batch.slice.series.resource, name)] for name in batch.values}
        self._ledger = ledger
        self._calendar = calendar
        self._day = day_adapter(connection)
        self.range = (ledger.series_id, self._day(batch.slice.first), self._day(batch.slice.last))
        self.may_be_stored = ledger.may_hold(batch.slice)
        self._rows: Sequence[Row] = ()
        self._stored: _Values = defaultdict(dict)
        self._fetched_at: dict[_Key, int] = {}
        self._absent_before: dict[_Key, Day | None] = {}

    def remember(self, rows: Sequence[Row], absences: Sequence[Row]) -> None:
        """Be told what is stored.

        Args:
            rows: the values in `range`, as _READ has them.
            absences: those in `range`, as _READ_ABSENT has them.
        """
        self._rows = rows
        stored = self._stored
        for day, metric, number, _ in rows:
            stored[metric][day] = number
        self._absent_before = {(row[0], row[1]): row[2] for row in absences}

    def compare(self, changes: _Changes) -> RowCounts:
        """Add to `changes` what is new in it."""
        new, changed, lacking = self._differences()
        if changed or lacking:
            self._fetched_at = {(row[0], row[1]): row[3] for row in self._rows}
        changes.new += new
        self._update(changed, changes)
        self._note_absences(lacking, changes)
        self._note_rejects(changes)
        total = sum(map(len, self._batch.values.values()))
        return RowCounts(
            new=len(new),
            changed=len(changed),
            unchanged=total - len(new) - len(changed),
            rejected=len(self._batch.rejects),
            absent=len(self._batch.absent),
        )

    def _differences(self) -> tuple[list[Row], list[Row], list[_Key]]:
        """The rows to insert, those to update, and the stored values that the answer lacks."""
        series, sent_at = self._ledger.series_id, self._batch.sent_at
        days = {epoch: self._day(day) for epoch, day in self._batch.grid.items()}
        new: list[Row] = []
        changed: list[Row] = []
        answered: _Values = {}
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

    def _update(self, rows: Sequence[Row], changes: _Changes) -> None:
        for series, day, metric, epoch, number, sent_at in rows:
            changes.updated.append((epoch, number, sent_at, series, day, metric))
            first = as_date(day)
            if self._held_on(day, metric) >= self._calendar.following(self._batch.slice.series.period, first):
                before = self._stored[metric][day]
                changes.revisions.append((series, day, metric, epoch, before, number, sent_at))

    def _note_absences(self, lacking: Sequence[_Key], changes: _Changes) -> None:
        wanted: set[_Key] = {(self._day(day), NO_METRIC) for day in self._batch.absent}
        wanted.update(lacking)
        before, series = self._absent_before, self._ledger.series_id
        changes.no_more_absent += [(series, *key) for key in before.keys() - wanted]
        for day, metric in wanted - before.keys():
            held_on = None if metric == NO_METRIC else self._day(self._held_on(day, metric))
            changes.newly_absent.append((series, day, metric, held_on))

    def _held_on(self, day: Day, metric: int) -> date:
        """The local day on which an answer held a stored value last, as late as can be shown."""
        noted = self._absent_before.get((day, metric))
        if noted is not None:
            return as_date(noted)
        came = self._calendar.local_date(self._fetched_at[day, metric])
        asked = self._ledger.asked_on(as_date(day))
        return max(came, asked) if asked is not None else came

    def _note_rejects(self, changes: _Changes) -> None:
        for reject in self._batch.rejects:
            texts = tuple(map(plain, reject))
            digest = blake2b("\0".join(texts).encode(), digest_size=8).digest()
            number = int.from_bytes(digest, "big", signed=True)
            changes.rejects.append((self._ledger.series_id, number, *texts, self._batch.sent_at))
