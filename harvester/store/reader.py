"""The reading side of the database, for `status`, `plan` and `export`: takes no lock and writes nothing.

A Reader reads one snapshot of the data, from opening to closing. An SQLite file is opened read-only. For the owner of
the file and for root SQLite may leave the two empty files of its WAL mode beside it; see sqlite_reading for others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, date, datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

from sqlalchemy import Boolean, Date, Select, column, func, literal, select, table

from harvester.core.model import ALL, Series
from harvester.core.period import Period
from harvester.database.connection import StoreConnection
from harvester.database.dsn import parse
from harvester.database.errors import translated
from harvester.database.patience import EXPORTING, READING, Patience
from harvester.store import queries, schema
from harvester.store.schema_state import read_schema_state, refuse_unreadable, refuse_unready
from harvester.store.types import AccountStatus, FailedRange, RecordedState, SeriesStatus

_TRUE = literal(True, Boolean())
_STATUS_TABLES = [
    table.name
    for table in (
        schema.account,
        schema.phone,
        schema.series,
        schema.coverage,
        schema.failed_slice,
        schema.absence,
        schema.unconfirmed_absence,
        schema.value,
        schema.quota,
        schema.range_limits,
    )
]
_FETCH_ROWS = 5_000  # per round trip to PostgreSQL


class Rows(NamedTuple):
    """Rows of a wide view, read as they are consumed."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


class Reader:
    """A read-only view of all accounts. A context manager; opening it takes the snapshot.

    Args:
        url: `sqlite:///FILE` or a libpq URL.
        schema: of PostgreSQL.
        password: of PostgreSQL, if it is neither in the URL nor where libpq looks for it.
        patience: deadlines of statements in PostgreSQL.

    Raises:
        SchemaError: the schema is not the newest one, or a newer program's.
        StoreError: the database is missing or cannot be used.
    """

    def __init__(
        self, url: str, schema: str = "public", password: str | None = None, *, patience: Patience = READING
    ) -> None:
        self._target = parse(url, schema, password)
        with ExitStack() as stack:
            self._store_connection = StoreConnection(self._target, read_only=True, patience=patience)
            stack.callback(self._store_connection.close)
            self._connection = stack.enter_context(self._store_connection.transaction())
            state = read_schema_state(self._target, self._connection)
            refuse_unready(self._target, state)
            self._stack = stack.pop_all()
        self.schema_version = str(state.revision)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)  # after an error the snapshot is not committed: that might fail, too

    def close(self) -> None:
        """End the snapshot and close the connection."""
        self._stack.close()

    def accounts(self) -> list[AccountStatus]:
        """Return all accounts ever claimed, by name, with all their series."""
        with self._translated():
            refuse_unreadable(self._target, self._connection, _STATUS_TABLES)
            series: dict[str, list[SeriesStatus]] = {}
            for one in self._series():
                series.setdefault(one.series.account, []).append(one)
            rows = self._connection.execute(select(schema.account).order_by(schema.account.c.name)).all()
            return [
                AccountStatus(
                    identity=(identity := queries.identity(self._connection, row)),
                    state=RecordedState(row.state),
                    reason=row.reason,
                    holder=row.holder,
                    answer=row.answer,
                    answered_at=row.answered_at,
                    quota=queries.quota(self._connection, identity.quota_key),
                    range_limits=queries.range_limits(self._connection, row.id),
                    series=series.get(row.name, []),
                )
                for row in rows
            ]

    def export(
        self,
        resource: str,
        *,
        period: Period,
        first: date | None = None,
        last: date | None = None,
        accounts: Sequence[str] | None = None,
        phones: Sequence[str] | None = None,
        complete_only: bool = True,
    ) -> Rows:
        """Return the rows of a resource's wide view, by account, phone and time.

        Dates and instants are text, as in SQLite's views; `complete` and `final` are booleans.

        Args:
            resource: one of core.model.RESOURCES.
            period: the length of the rows' periods.
            first: first day of the first period, inclusive.
            last: first day of the last period, inclusive.
            accounts: only these; None: all.
            phones: only these; None: all single numbers, without ALL.
            complete_only: leave out periods that had not ended when they were requested.
        """
        with self._translated():
            refuse_unreadable(self._target, self._connection, [resource])
            no_rows = f"SELECT * FROM {resource} WHERE 1 = 0"  # noqa: S608 - the name of a view
            with self._connection.exec_driver_sql(no_rows) as empty:
                columns = tuple(empty.keys())
            statement = _select_view(resource, columns, period, first, last)
            if accounts is not None:
                statement = statement.where(column("account").in_(accounts))
            statement = statement.where(column("phone") != ALL if phones is None else column("phone").in_(phones))
            if complete_only:
                statement = statement.where(column("complete") == _TRUE)
        self._store_connection.set_patience(EXPORTING)
        return Rows(columns, self._stream(statement, columns))

    def _stream(self, statement: Select[Any], columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
        booleans = {columns.index("complete"), columns.index("final")}
        with self._translated():
            options = {"yield_per": _FETCH_ROWS}
            with self._connection.execute(statement, execution_options=options) as result:
                for row in result:
                    yield tuple(bool(cell) if at in booleans else _as_text(cell) for at, cell in enumerate(row))
        self._store_connection.check_frozen()

    def _series(self) -> list[SeriesStatus]:
        coverage = queries.coverage(self._connection, None)
        failed: dict[Series, list[FailedRange]] = {}
        for failure in queries.failed(self._connection, None):
            failed.setdefault(failure.series, []).append(failure)
        absent = self._absent()
        unconfirmed = queries.unconfirmed_absence(self._connection, None)
        value, series = schema.value, schema.series
        first = select(func.min(value.c.day)).where(value.c.series_id == series.c.id).scalar_subquery()
        last = select(func.max(value.c.day)).where(value.c.series_id == series.c.id).scalar_subquery()
        statement = (
            select(*queries.SERIES, series.c.id, first.label("first"), last.label("last"))
            .select_from(series.join(schema.account))
            .order_by(*queries.SERIES)
        )
        found = []
        for row in self._connection.execute(statement):
            one = queries.series_of(row)
            found.append(
                SeriesStatus(
                    one,
                    row.first,
                    row.last,
                    coverage.get(one, []),
                    absent.get(row.id, 0),
                    failed.get(one, []),
                    unconfirmed.get(one, []),
                )
            )
        return found

    def _absent(self) -> dict[int, int]:
        absence = schema.absence
        statement = (
            select(absence.c.series_id, func.count())
            .where(absence.c.metric_id == schema.NO_METRIC)
            .group_by(absence.c.series_id)
        )
        return {row[0]: row[1] for row in self._connection.execute(statement)}

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._target)


def _select_view(
    resource: str, columns: Sequence[str], period: Period, first: date | None, last: date | None
) -> Select[Any]:
    view = table(resource, *(column(name, Date if name == "local_date" else None) for name in columns))
    statement = select(view).where(view.c.period == period.value).order_by(view.c.account, view.c.phone, view.c.epoch)
    if first is not None:
        statement = statement.where(view.c.local_date >= first)
    if last is not None:
        statement = statement.where(view.c.local_date <= last)
    return statement


def _as_text(cell: object) -> object:
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return cell.isoformat() if hasattr(cell, "isoformat") else cell
