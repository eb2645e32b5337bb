"""Orders: a backfill that finds its account held hands its work over to the holder.

An order is one row, and the two processes share nothing else. The backfill, its owner, inserts it and renews its
heartbeat; the holder finds it, reports progress in it and finishes it; the owner deletes it, however it ended. An order
whose owner died is deleted by the next holder that reads the orders, so no order stays.

The order states what is wanted, not how to get it: planning is cheap and pure, and the holder knows best what is
stored by now. A row for each slice was rejected: it would be written, claimed and counted for nothing.

Ages are measured by the database's clock, because the hosts' clocks may differ. A heartbeat in the future counts as
stale, like an old one: the clock was stepped, and a live owner finds its order gone and places another. No id is used
twice, so an owner that slept while its order was dropped cannot change a later one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, cast

from sqlalchemy import BigInteger, Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement

from harvester.core.model import Series
from harvester.core.period import Period
from harvester.store.schema import account, backfill_order
from harvester.store.types import BackfillOrder, OrderProgress, OrderState
from harvester.store.values import as_stored_text

STALE_AFTER_SECONDS: Final = 60  # without a heartbeat
BEAT_EVERY_SECONDS: Final = 10  # a call before that only reads: each write to SQLite waits for the disk


class _Now(FunctionElement[int]):
    """The epoch second by the database's clock."""

    type = BigInteger()
    inherit_cache = True


@compiles(_Now, "sqlite")
def _now_in_sqlite(_element: _Now, _compiler: SQLCompiler, **_options: Any) -> str:  # noqa: ANN401 - as in SQLAlchemy
    return "CAST(strftime('%s', 'now') AS INTEGER)"


@compiles(_Now, "postgresql")
def _now_in_postgresql(_element: _Now, _compiler: SQLCompiler, **_options: Any) -> str:  # noqa: ANN401 - as in SQLAlchemy
    return "CAST(floor(extract(epoch FROM clock_timestamp())) AS bigint)"


_t = backfill_order.c
_AGE = _Now() - _t.heartbeat_at
_IS_FRESH = func.abs(_AGE) <= STALE_AFTER_SECONDS
_BY_ID = _t.id == bindparam("order_id")
_OF_ACCOUNT = _t.account_id == bindparam("account")
_UNFINISHED = _t.state != OrderState.DONE.value

_FIND = (
    select(
        *(_t.id, _t.owner, _t.first_day, _t.last_day, _t.refetch, _t.series, _t.report, _t.state),
        _IS_FRESH.label("is_fresh"),
    )
    .where(_OF_ACCOUNT)
    .order_by(_t.id)
)
_READ_PROGRESS = select(
    *(_t.state, _t.report, _t.error_code, _t.error_message),
    (~_AGE.between(0, BEAT_EVERY_SECONDS - 1)).label("is_due"),
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
    """Insert an order.

    Returns:
        Its id; None if the account was never claimed yet.
    """
    account_id = connection.scalar(select(account.c.id).where(account.c.name == name))
    if account_id is None:
        return None
    inserted = connection.execute(
        insert(backfill_order).values(
            account_id=account_id,
            owner=as_stored_text(owner),
            heartbeat_at=_Now(),
            first_day=first,
            last_day=last,
            refetch=refetch,
            series=_series_json(series),
        )
    )
    (order_id,) = cast("tuple[int]", inserted.inserted_primary_key)
    return order_id


def read_progress(connection: Connection, order_id: int) -> tuple[OrderProgress, bool] | None:
    """Return the order's progress, and if its heartbeat is due; None if it is gone."""
    row = connection.execute(_READ_PROGRESS, {"order_id": order_id}).first()
    if row is None:
        return None
    error = (row.error_code, row.error_message) if row.error_code is not None else None
    return OrderProgress(OrderState(row.state), row.report, error), row.is_due


def beat(connection: Connection, order_id: int) -> bool:
    """Renew the order's heartbeat; return False if it is gone."""
    return connection.execute(_BEAT, {"order_id": order_id}).rowcount > 0


def withdraw(connection: Connection, order_id: int) -> None:
    """Delete the order, if it exists."""
    connection.execute(_WITHDRAW, {"order_id": order_id})


def find(connection: Connection, account_id: int, name: str) -> tuple[list[BackfillOrder], bool]:
    """Return an account's unfinished orders of live owners, oldest first, and True if there are stale orders."""
    rows: Sequence[Row[*tuple[Any, ...]]] = connection.execute(_FIND, {"account": account_id}).all()
    unfinished = [_order(row, name) for row in rows if row.is_fresh and row.state != OrderState.DONE.value]
    return unfinished, not all(row.is_fresh for row in rows)


def drop_stale(connection: Connection, account_id: int) -> None:
    """Delete stale orders, except one whose heartbeat was renewed since they were read."""
    connection.execute(_DROP_STALE, {"account": account_id})


def is_reported(connection: Connection, account_id: int, order_id: int, text: str) -> bool:
    """Return True if the order contains this report already."""
    keys = {"account": account_id, "order_id": order_id, "text": as_stored_text(text, None)}
    return connection.scalar(_REPORTED, keys) is not None


def report(connection: Connection, account_id: int, order_id: int, text: str) -> bool:
    """Store a report of the order's progress; return False if the order is gone or finished."""
    values = {"state": OrderState.WORKING.value, "report": as_stored_text(text, None)}
    return _change(connection, account_id, order_id, values)


def finish(connection: Connection, account_id: int, order_id: int, text: str, error: tuple[str, str] | None) -> None:
    """Store the end of the order, if it exists."""
    code, message = error if error is not None else (None, None)
    values = {
        "state": OrderState.DONE.value,
        "report": as_stored_text(text, None),
        "error_code": code,
        "error_message": as_stored_text(message, None) if message is not None else None,
    }
    _change(connection, account_id, order_id, values)


def _change(connection: Connection, account_id: int, order_id: int, values: Mapping[str, str | None]) -> bool:
    keys = {"account": account_id, "order_id": order_id}
    return connection.execute(_CHANGE.values(**values), keys).rowcount > 0


def _order(row: Row[*tuple[Any, ...]], name: str) -> BackfillOrder:
    series = tuple(Series(name, resource, phone, Period(period)) for resource, phone, period in json.loads(row.series))
    return BackfillOrder(row.id, row.owner, row.first_day, row.last_day, row.refetch, series, row.report)


def _series_json(series: Iterable[Series]) -> str:
    return json.dumps([[one.resource, one.phone, one.period.value] for one in series], separators=(",", ":"))
