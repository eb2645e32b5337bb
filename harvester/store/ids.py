"""Cache of the database ids of an account's series and metrics; unknown ones are inserted on demand.

A server chooses the names of metrics, and what is inserted stays for ever. So an account learns MAX_LEARNT_METRICS at
most; a name beyond has no id, and its values are rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select

from harvester.core.model import Series
from harvester.core.period import Period
from harvester.database.sql import insert_new
from harvester.store import schema

MAX_LEARNT_METRICS: Final = 300  # of an account, besides those known at a release; four resources have 18 today
_NAMES_PER_QUERY: Final = 500


class Metric(NamedTuple):
    """A metric, by its resource and its name."""

    resource: str
    name: str


class IdCache:
    """The ids of one account's series and metrics. Call `forget` after a failed transaction: it may have inserted some.

    Args:
        account: the account's name.
        account_id: its id in the database.
    """

    def __init__(self, account: str, account_id: int) -> None:
        self.account = account
        self.account_id = account_id
        self._series: dict[Series, int] | None = None
        self._metrics: dict[Metric, int] = {}  # those asked for until now
        self.refused: set[Metric] = set()  # in the last call of `metrics`
        self._learnt: int | None = None  # metrics of the account beyond the known ones, once they may be too many

    def forget(self) -> None:
        """Read the ids from the database again at the next call."""
        self._series = self._learnt = None
        self._metrics = {}

    def series(self, connection: Connection, wanted: Iterable[Series]) -> Mapping[Series, int]:
        """Return the ids of at least these series; insert those that the database does not know yet."""
        if self._series is None:
            self._series = self._stored_series(connection)
        self.refused = set()
        if missing := sorted({one for one in wanted if one not in self._series}):
            rows = [
                {
                    "account_id": self.account_id,
                    "resource": one.resource,
                    "phone": one.phone,
                    "period": one.period.value,
                }
                for one in missing
            ]
            insert_new(connection, schema.series, rows)
            self._series = self._stored_series(connection)
        return self._series

    def metrics(self, connection: Connection, wanted: Iterable[Metric]) -> Mapping[Metric, int]:
        """Return the ids of these metrics; insert unknown ones, without unit and meaning, as long as they are few.

        Inserts are sorted: other processes may insert the same metrics at this moment, and must not deadlock.
        """
        if missing := sorted({one for one in wanted if one not in self._metrics}):
            self._metrics |= _stored_metrics(connection, missing)
            unknown = [one for one in missing if one not in self._metrics]
            if new := unknown[: self._room(connection, len(unknown))]:
                insert_new(connection, schema.metric, [one._asdict() for one in new])
                self._metrics |= _stored_metrics(connection, new)
            self.refused.update(unknown[len(new) :])
        return self._metrics

    def _room(self, connection: Connection, wanted: int) -> int:
        """Return how many of `wanted` metrics the account may learn, and count them as learnt."""
        if not wanted:
            return 0
        if self._learnt is None:
            table = schema.metric
            total = connection.scalar(select(func.count()).select_from(table).where(table.c.unit.is_(None))) or 0
            if total + wanted <= MAX_LEARNT_METRICS:
                return wanted
            self._learnt = self._count_learnt(connection)
        room = max(0, min(wanted, MAX_LEARNT_METRICS - self._learnt))
        self._learnt += room
        return room

    def _count_learnt(self, connection: Connection) -> int:
        """Return how many metrics beyond the known ones the account has values of. Reads all of its values."""
        value, series, metric = schema.value, schema.series, schema.metric
        metrics = (
            select(value.c.metric_id)
            .select_from(
                series.join(value, value.c.series_id == series.c.id).join(metric, metric.c.id == value.c.metric_id)
            )
            .where(series.c.account_id == self.account_id, metric.c.unit.is_(None))
            .distinct()
        )
        return connection.scalar(select(func.count()).select_from(metrics.subquery())) or 0

    def _stored_series(self, connection: Connection) -> dict[Series, int]:
        table = schema.series
        rows = connection.execute(
            select(table.c.id, table.c.resource, table.c.phone, table.c.period).where(
                table.c.account_id == self.account_id
            )
        )
        return {Series(self.account, row.resource, row.phone, Period(row.period)): row.id for row in rows}


def _stored_metrics(connection: Connection, wanted: Iterable[Metric]) -> dict[Metric, int]:
    """Return the ids of those of these metrics that are stored; `wanted` is sorted."""
    table = schema.metric
    found: dict[Metric, int] = {}
    for resource, metrics in groupby(wanted, attrgetter("resource")):
        names = [metric.name for metric in metrics]
        for begin in range(0, len(names), _NAMES_PER_QUERY):
            chunk = names[begin : begin + _NAMES_PER_QUERY]
            rows = connection.execute(
                select(table.c.name, table.c.id).where(table.c.resource == resource, table.c.name.in_(chunk))
            )
            found.update((Metric(resource, row.name), row.id) for row in rows)
    return found
