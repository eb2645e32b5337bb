"""Cache of the database ids of an account's series and metrics; unknown ones are inserted on demand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, select

from harvester.core.model import Series
from harvester.core.period import Period
from harvester.store import schema
from harvester.store.sql import insert_new


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
        self._metrics: dict[Metric, int] | None = None

    def forget(self) -> None:
        """Read the ids from the database again at the next call."""
        self._series = self._metrics = None

    def series(self, connection: Connection, wanted: Iterable[Series]) -> Mapping[Series, int]:
        """Return the ids of at least these series; insert those that the database does not know yet."""
        if self._series is None:
            self._series = self._stored_series(connection)
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
        """Return the ids of at least these metrics; insert unknown ones, without unit and meaning.

        Inserts are sorted: other processes may insert the same metrics at this moment, and must not deadlock.
        """
        if self._metrics is None:
            self._metrics = _stored_metrics(connection)
        if missing := sorted({one for one in wanted if one not in self._metrics}):
            insert_new(connection, schema.metric, [one._asdict() for one in missing])
            self._metrics = _stored_metrics(connection)
        return self._metrics

    def _stored_series(self, connection: Connection) -> dict[Series, int]:
        table = schema.series
        rows = connection.execute(
            select(table.c.id, table.c.resource, table.c.phone, table.c.period).where(
                table.c.account_id == self.account_id
            )
        )
        return {Series(self.account, row.resource, row.phone, Period(row.period)): row.id for row in rows}


def _stored_metrics(connection: Connection) -> dict[Metric, int]:
    table = schema.metric
    return {Metric(row.resource, row.name): row.id for row in connection.execute(select(table))}
