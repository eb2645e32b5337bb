"""The reading side: what `status`, `plan` and `export` show, without a lock and without writing.

A Reader is one unchanging view of the data, from opening to closing. An SQLite file is opened read-only; beside it
SQLite may leave the two empty files of its WAL mode, as every reader of such a file does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, date, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from sqlalchemy import Boolean, Date, Select, column, func, literal, select, table

from harvester.core.model import ALL, Series
from harvester.store import queries, schema
from harvester.store.connection import StoreConnection
from harvester.store.dsn import parse
from harvester.store.errors import translated
from harvester.store.migrate import read_state, refuse_unready
from harvester.store.types import AccountStatus, FailedRange, RecordedState, SeriesStatus

if TYPE_CHECKING:
    from harvester.core.period import Period

_TRUE = literal(True, Boolean())
_AT_ONCE = 5_000  # rows fetched from PostgreSQL's cursor at a time


class Rows(NamedTuple):
    """Rows of a wide view, while they come."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


class Reader:
    """Reads everything, claims nothing. A context manager; opening it takes the view.

    Args:
        url: `sqlite:///FILE`, or what libpq takes.
        schema: PostgreSQL's.
        password: PostgreSQL's, if it is not in the URL or where libpq looks for it.

    Raises:
        SchemaError: the database is not migrated, or by a newer program.
        StoreError: it is missing or cannot be used.
    """

    def __init__(self, url: str, schema: str = "public", password: str | None = None) -> None:
        self._target = parse(url, schema, password)
        with ExitStack() as stack:
            self._session = StoreConnection(self._target, read_only=True)
            stack.callback(self._session.close)
            self._connection = stack.enter_context(self._session.transaction())
            state = read_state(self._connection)
            refuse_unready(self._target, state)
            self._open = stack.pop_all()
        self.schema_version = str(state.revision)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the view and of the connection."""
        self._open.close()

    def accounts(self) -> list[AccountStatus]:
        """All accounts ever claimed with all their series, by name."""
        with self._translated():
            series: dict[str, list[SeriesStatus]] = {}
            for one in self._series():
                series.setdefault(one.series.account, []).append(one)
            rows = self._connection.execute(select(schema.account).order_by(schema.account.c.name)).all()
            return [
                AccountStatus(
                    identity=queries.identity(self._connection, row),
                    state=RecordedState(row.state),
                    reason=row.reason,
                    holder=row.holder,
                    answer=row.answer,
                    answered_at=row.answered_at,
                    quota=queries.quota(self._connection, row.id),
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
        """The rows of a resource's wide view, by account, phone and time.

        Dates and instants come as the text that SQLite's views give, judgements as booleans.

        Args:
            resource: one of core.model.RESOURCES.
            period: the length of the rows' periods.
            first: first day of the first period, inclusive.
            last: first day of the last period, inclusive.
            accounts: only these.
            phones: only these; None: all single numbers, without ALL.
            complete_only: leave out periods that had not ended when they were asked for.
        """
        with self._translated():
            nothing = f"SELECT * FROM {resource} WHERE 1 = 0"  # noqa: S608 - a view of ours
            with self._connection.exec_driver_sql(nothing) as empty:
                columns = tuple(empty.keys())
            statement = _exported(resource, columns, period, first, last)
            if accounts is not None:
                statement = statement.where(column("account").in_(accounts))
            statement = statement.where(column("phone") != ALL if phones is None else column("phone").in_(phones))
            if complete_only:
                statement = statement.where(column("complete") == _TRUE)
        return Rows(columns, self._stream(statement, columns))

    def _stream(self, statement: Select[Any], columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
        truths = {columns.index("complete"), columns.index("final")}
        with self._translated():
            options = {"yield_per": _AT_ONCE}
            with self._connection.execute(statement, execution_options=options) as result:
                for row in result:
                    yield tuple(bool(cell) if at in truths else _as_text(cell) for at, cell in enumerate(row))

    def _series(self) -> list[SeriesStatus]:
        coverage = queries.coverage(self._connection, None)
        failed: dict[Series, list[FailedRange]] = {}
        for gap in queries.failed(self._connection, None):
            failed.setdefault(gap.series, []).append(gap)
        absent = self._absent()
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
                    one, row.first, row.last, coverage.get(one, []), absent.get(row.id, 0), failed.get(one, [])
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


def _exported(
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
