"""Orders: how a backfill that finds its account held hands its work over to the process that holds it.

An order is one row, and that row is all that the two share. The backfill writes what it wants and beats now and then;
the account's spender finds the order, reports into it and ends it; the backfill deletes it, however it ended. What a
dead backfill leaves is deleted by the next spender that looks, so nobody has to be asked and nothing stays.

The order says what is wanted, not how to get it: planning is cheap and pure, and the spender knows best what is
stored by now. A row for each slice would be written, claimed and counted for nothing.

Ages are told by the database's clock, for those of the hosts may differ. A heartbeat from the future is as dead as an
old one: the clock was stepped, and an owner that lives finds its order gone and places another. No number is given
out twice, so whoever slept while its order was dropped cannot touch a later one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import BigInteger, Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from harvester.core.model import Series
from harvester.core.period import Period
from harvester.store.schema import account, backfill_order
from harvester.store.types import BackfillOrder, OrderProgress, OrderState
from harvester.store.values import plain

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler

STALE_AFTER: Final = 60  # seconds since the last heartbeat
BEAT_EVERY: Final = 10  # seconds; a look before that writes nothing, for every write of SQLite's is a wait for the disk


class _Now(FunctionElement[int]):
    """The database's own epoch second."""

    type = BigInteger()
    inherit_cache = True


@compiles(_Now, "sqlite")
def _now_in_sqlite(_element: _Now, _compiler: SQLCompiler, **_options: Any) -> str:  # noqa: ANN401 - as the compiler's
    return "CAST(strftime('%s', 'now') AS INTEGER)"


@compiles(_Now, "postgresql")
def _now_in_postgresql(_element: _Now, _compiler: SQLCompiler, **_options: Any) -> str:  # noqa: ANN401 - the same
    return "CAST(floor(extract(epoch FROM clock_timestamp())) AS bigint)"


_t = backfill_order.c
_AGE = _Now() - _t.heartbeat_at
_IS_FRESH = func.abs(_AGE) <= STALE_AFTER
_BY_ID = _t.id == bindparam("number")
_OF_ACCOUNT = _t.account_id == bindparam("account_number")
_UNFINISHED = _t.state != OrderState.DONE.value

_FIND = (
    select(
        *(_t.id, _t.owner, _t.first_day, _t.last_day, _t.refetch, _t.series, _t.report, _t.state),
        _IS_FRESH.label("is_fresh"),
    )
    .where(_OF_ACCOUNT)
    .order_by(_t.id)
)
_LOOK = select(
    *(_t.state, _t.report, _t.error_code, _t.error_message),
    (~_AGE.between(0, BEAT_EVERY - 1)).label("is_due"),
).where(_BY_ID)
_BEAT = update(backfill_order).where(_BY_ID).values(heartbeat_at=_Now())
_WITHDRAW = delete(backfill_order).where(_BY_ID)
_DROP_STALE = delete(backfill_order).where(_OF_ACCOUNT, ~_IS_FRESH)
_REPORTED = select(_t.id).where(
    _BY_ID, _OF_ACCOUNT, _t.state == OrderState.WORKING.value, _t.report == bindparam("text")
)
_CHANGE = update(backfill_order).where(_BY_ID, _OF_ACCOUNT, _UNFINISHED)


def place(
    connection: Connection, name: str, owner: str, *, first: date, last: date, refetch: bool, series: Iterable[Series]
) -> int | None:
    """Write an order down.

    Returns:
        Its number; None if nobody has claimed the account yet.
    """
    number = connection.scalar(select(account.c.id).where(account.c.name == name))
    if number is None:
        return None
    done = connection.execute(
        insert(backfill_order).values(
            account_id=number,
            owner=plain(owner),
            heartbeat_at=_Now(),
            first_day=first,
            last_day=last,
            refetch=refetch,
            series=_packed(series),
        )
    )
    (order,) = cast("tuple[int]", done.inserted_primary_key)
    return order


def look(connection: Connection, number: int) -> tuple[OrderProgress, bool] | None:
    """The order's progress, and whether its heartbeat is due; None: it is gone."""
    row = connection.execute(_LOOK, {"number": number}).first()
    if row is None:
        return None
    error = (row.error_code, row.error_message) if row.error_code is not None else None
    return OrderProgress(OrderState(row.state), row.report, error), row.is_due


def beat(connection: Connection, number: int) -> bool:
    """Say that the order's owner lives; False: it is gone."""
    return connection.execute(_BEAT, {"number": number}).rowcount > 0


def withdraw(connection: Connection, number: int) -> None:
    """Delete the order, if it is still there."""
    connection.execute(_WITHDRAW, {"number": number})


def find(connection: Connection, account_number: int, name: str) -> tuple[list[BackfillOrder], bool]:
    """An account's unfinished orders whose owners live, oldest first, and whether there are stale ones."""
    rows: Sequence[Row[*tuple[Any, ...]]] = connection.execute(_FIND, {"account_number": account_number}).all()
    wanted = [_order(row, name) for row in rows if row.is_fresh and row.state != OrderState.DONE.value]
    return wanted, not all(row.is_fresh for row in rows)


def drop_stale(connection: Connection, account_number: int) -> None:
    """Delete what dead owners left; one that has come back to life meanwhile stays."""
    connection.execute(_DROP_STALE, {"account_number": account_number})


def is_reported(connection: Connection, account_number: int, number: int, text: str) -> bool:
    """Whether this is what the order says already."""
    keys = {"account_number": account_number, "number": number, "text": plain(text, None)}
    return connection.scalar(_REPORTED, keys) is not None


def report(connection: Connection, account_number: int, number: int, text: str) -> bool:
    """Say how far the order is; False: it is gone, or has ended."""
    values = {"state": OrderState.WORKING.value, "report": plain(text, None)}
    return _changed(connection, account_number, number, values)


def finish(connection: Connection, account_number: int, number: int, text: str, error: tuple[str, str] | None) -> None:
    """End the order, if it is still there."""
    code, message = error if error is not None else (None, None)
    values = {
        "state": OrderState.DONE.value,
        "report": plain(text, None),
        "error_code": code,
        "error_message": plain(message, None) if message is not None else None,
    }
    _changed(connection, account_number, number, values)


def _changed(connection: Connection, account_number: int, number: int, values: Mapping[str, str | None]) -> bool:
    keys = {"account_number": account_number, "number": number}
    return connection.execute(_CHANGE.values(**values), keys).rowcount > 0


def _order(row: Row[*tuple[Any, ...]], name: str) -> BackfillOrder:
    series = tuple(Series(name, resource, phone, Period(period)) for resource, phone, period in json.loads(row.series))
    return BackfillOrder(row.id, row.owner, row.first_day, row.last_day, row.refetch, series, row.report)


def _packed(series: Iterable[Series]) -> str:
    return json.dumps([[one.resource, one.phone, one.period.value] for one in series], separators=(",", ":"))
