"""Storage of answers: new values are inserted, different ones updated, equal ones not touched.

An answer never erases. A stored value that the newest answer to its period lacks stays, and a row in `absence` records
when an answer last contained it. A value that replaces another one is a revision if an answer sent after the period's
end had contained the old one. Days before or after all stored days of a series, the common case of a backfill, need no
look-up.

All answers of a transaction are compared first and then written table by table, so the cost of a transaction follows
the number of changes, and hardly the number of answers. Two answers for one series are never compared together: the
later one is compared with what the earlier one has written.

What a server sends without end is bounded: the names of metrics (store/ids.py), and the rejects of a series, of which
the newest are stored.

Values are inserted without a conflict clause. This is safe, because only the account's holder writes its values
(database/lock.py), and the stored ones were read in the same transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import blake2b

from sqlalchemy import Connection

from harvester.core.model import Batch, FailedSlice, Reject, RowCounts, Series
from harvester.core.period import Calendar
from harvester.database.bulk import Day, Row, day_adapter, insert_many, read_each, run_all
from harvester.failpoints import Step, step
from harvester.store.ids import MAX_LEARNT_METRICS, IdCache, Metric
from harvester.store.ledger import Ledgers, SeriesLedger, as_date, write_ledgers
from harvester.store.schema import NO_METRIC

_Key = tuple[Day, int]  # a period's first day, a metric
_Values = dict[int, dict[Day, float | None]]  # by metric and a period's first day

MAX_STORED_REJECTS = 200  # of a series
REJECT_AGE = 90 * 86_400  # seconds after which a reject is deleted
_LONGEST_TEXT = 500  # characters
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
_DELETE_REJECTS = (
    "DELETE FROM reject WHERE series_id = ? AND (seen_at < ? OR digest IN"
    " (SELECT digest FROM reject WHERE series_id = ? ORDER BY seen_at DESC, digest LIMIT 1000000 OFFSET ?))"
)


@step(Step.WRITE)
def store_answers(
    connection: Connection,
    ids: IdCache,
    ledgers: Ledgers,
    calendar: Calendar,
    batches: Sequence[Batch],
    failures: Sequence[FailedSlice],
    *,
    failed_at: int,
) -> RowCounts:
    """Store answers and the state of their slices within the caller's transaction.

    Args:
        connection: in a transaction.
        ids: of the account's series and metrics.
        ledgers: of the account.
        calendar: of the account.
        batches: answers; of two for the same period the later one counts.
        failures: slices given up.
        failed_at: epoch second at which they were.
    """
    series = dict.fromkeys([batch.slice.series for batch in batches] + [failure.slice.series for failure in failures])
    series_ids = ids.series(connection, series)
    metric_ids = ids.metrics(
        connection, {Metric(batch.slice.series.resource, name) for batch in batches for name in batch.values}
    )
    batches = [_without_unknown_metrics(batch, metric_ids) for batch in batches]
    used = ledgers.of(connection, {one: series_ids[one] for one in series})
    counts = RowCounts()
    for group in _without_repeated_series(batches):
        answers = [_Answer(connection, batch, metric_ids, used[batch.slice.series], calendar) for batch in group]
        counts.add(_store(connection, answers))
        for batch, answer in zip(group, answers, strict=True):
            asked_on = calendar.local_date(batch.sent_at)
            used[batch.slice.series].add_answer(batch.slice, asked_on, batch.absent, answer.absent_before)
    for failure in failures:
        used[failure.slice.series].add_failure(failure, as_stored_text(failure.error), failed_at)
    write_ledgers(connection, used.values())
    return counts


def as_stored_text(text: str, longest: int | None = _LONGEST_TEXT) -> str:
    """Return the text as both databases can store it: without NUL and lone surrogates, cut to `longest` characters."""
    return text[:longest].encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")


def _without_unknown_metrics(batch: Batch, metric_ids: Mapping[Metric, int]) -> Batch:
    """Return the answer with the metrics that have no id among its rejects."""
    resource = batch.slice.series.resource
    unknown = dict.fromkeys(name for name in batch.values if Metric(resource, name) not in metric_ids)
    if not unknown:
        return batch
    reason = f"one of more than {MAX_LEARNT_METRICS} unknown metrics of the account"
    return replace(
        batch,
        values={name: pairs for name, pairs in batch.values.items() if name not in unknown},
        rejects=[*batch.rejects, *(Reject(name, "", f"{len(batch.values[name])} values", reason) for name in unknown)],
    )


def _without_repeated_series(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """Yield the answers in their order, in groups that contain no series twice."""
    group: dict[Series, Batch] = {}
    for batch in batches:
        if batch.slice.series in group:
            yield list(group.values())
            group = {}
        group[batch.slice.series] = batch
    if group:
        yield list(group.values())


def _store(connection: Connection, answers: Sequence[_Answer]) -> RowCounts:
    overlapping = [answer for answer in answers if answer.may_overlap]
    ranges = [answer.range for answer in overlapping]
    stored, absent = read_each(connection, _READ, ranges), read_each(connection, _READ_ABSENT, ranges)
    for answer, rows, absences in zip(overlapping, stored, absent, strict=True):
        answer.set_stored(rows, absences)
    changes, counts = _Changes(), RowCounts()
    for answer in answers:
        counts.add(answer.compare(changes))
    changes.write(connection)
    return counts


@dataclass(slots=True)
class _Changes:
    """Rows to be written, with the parameters of each statement."""

    new: list[Row] = field(default_factory=list)
    updated: list[Row] = field(default_factory=list)
    revisions: list[Row] = field(default_factory=list)
    ended_absences: list[Row] = field(default_factory=list)
    new_absences: list[Row] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)
    old_rejects: set[Row] = field(default_factory=set)

    def write(self, connection: Connection) -> None:
        """Write the rows, table by table."""
        insert_many(connection, "value", _COLUMNS, _TYPES, self.new)
        run_all(
            connection,
            [
                (_UPDATE, self.updated),
                (_INSERT_REVISION, self.revisions),
                (_DELETE_ABSENT, self.ended_absences),
                (_INSERT_ABSENT, self.new_absences),
                (_INSERT_REJECT, self.rejects),
                (_DELETE_REJECTS, sorted(self.old_rejects)),
            ],
        )


class _Answer:
    """One answer, compared with the stored values of its range."""

    def __init__(
        self,
        connection: Connection,
        batch: Batch,
        metric_ids: Mapping[Metric, int],
        ledger: SeriesLedger,
        calendar: Calendar,
    ) -> None:
        self._batch = batch
        self._ids = {name: metric_ids[Metric(batch.slice.series.resource, name)] for name in batch.values}
        self._ledger = ledger
        self._calendar = calendar
        self._day = day_adapter(connection)
        self.range = (ledger.series_id, self._day(batch.slice.first), self._day(batch.slice.last))
        self.may_overlap = ledger.may_overlap(batch.slice)
        self._rows: Sequence[Row] = ()
        self._stored: _Values = defaultdict(dict)
        self._fetched_at: dict[_Key, int] = {}
        self._absent_before: dict[_Key, Day | None] = {}

    def set_stored(self, rows: Sequence[Row], absences: Sequence[Row]) -> None:
        """Set the rows that are stored in `range`.

        Args:
            rows: values, with the columns of _READ.
            absences: with the columns of _READ_ABSENT.
        """
        self._rows = rows
        stored = self._stored
        for day, metric, number, _ in rows:
            stored[metric][day] = number
        self._absent_before = {(row[0], row[1]): row[2] for row in absences}

    @property
    def absent_before(self) -> set[date]:
        """First days of the periods that the stored answers lack."""
        return {as_date(day) for day, metric in self._absent_before if metric == NO_METRIC}

    def compare(self, changes: _Changes) -> RowCounts:
        """Add what differs from the stored rows to `changes`; return the counts."""
        new, changed, lacking = self._differences()
        if changed or lacking:
            self._fetched_at = {(row[0], row[1]): row[3] for row in self._rows}
        changes.new += new
        self._add_updates(changed, changes)
        self._add_absences(lacking, changes)
        self._add_rejects(changes)
        total = sum(map(len, self._batch.values.values()))
        return RowCounts(
            new=len(new),
            changed=len(changed),
            unchanged=total - len(new) - len(changed),
            rejected=len(self._batch.rejects),
            absent=len(self._batch.absent) - (len(self._batch.grid) if self._batch.repeats_absence else 0),
        )

    def _differences(self) -> tuple[list[Row], list[Row], list[_Key]]:
        """Return the rows to insert, those to update, and the stored values that the answer lacks."""
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

    def _add_updates(self, rows: Sequence[Row], changes: _Changes) -> None:
        for series, day, metric, epoch, number, sent_at in rows:
            changes.updated.append((epoch, number, sent_at, series, day, metric))
            first = as_date(day)
            if self._last_contained_on(day, metric) >= self._calendar.following(self._batch.slice.series.period, first):
                before = self._stored[metric][day]
                changes.revisions.append((series, day, metric, epoch, before, number, sent_at))

    def _add_absences(self, lacking: Sequence[_Key], changes: _Changes) -> None:
        wanted: set[_Key] = {(self._day(day), NO_METRIC) for day in self._batch.absent}
        wanted.update(lacking)
        before, series = self._absent_before, self._ledger.series_id
        changes.ended_absences += [(series, *key) for key in before.keys() - wanted]
        for day, metric in wanted - before.keys():
            held_on = None if metric == NO_METRIC else self._day(self._last_contained_on(day, metric))
            changes.new_absences.append((series, day, metric, held_on))

    def _last_contained_on(self, day: Day, metric: int) -> date:
        """Return the latest local day on which an answer is known to have contained a stored value."""
        before_absence = self._absent_before.get((day, metric))
        if before_absence is not None:
            return as_date(before_absence)
        fetched_on = self._calendar.local_date(self._fetched_at[day, metric])
        asked_on = self._ledger.asked_on(as_date(day))
        return max(fetched_on, asked_on) if asked_on is not None else fetched_on

    def _add_rejects(self, changes: _Changes) -> None:
        series, sent_at = self._ledger.series_id, self._batch.sent_at
        if self._batch.rejects:
            changes.old_rejects.add((series, sent_at - REJECT_AGE, series, MAX_STORED_REJECTS))
        for reject in self._batch.rejects[:MAX_STORED_REJECTS]:
            texts = tuple(map(as_stored_text, reject))
            digest = blake2b("\0".join(texts).encode(), digest_size=8).digest()
            key = int.from_bytes(digest, "big", signed=True)
            changes.rejects.append((series, key, *texts, sent_at))
