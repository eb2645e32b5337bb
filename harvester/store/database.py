"""The writing side of the database: claim an account, and be its only spender until it is released.

All accounts of a process share one connection in one thread, and so do their locks in PostgreSQL. When the
connection is lost, all that was claimed over it is lost with it; the next claim opens another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, delete, insert, select, update

from harvester.core.period import Period
from harvester.errors import ConfigError, StoreError
from harvester.store import orders, queries, schema
from harvester.store.account_store import AccountStore
from harvester.store.connection import StoreConnection
from harvester.store.db_thread import DatabaseThread
from harvester.store.dsn import SqliteTarget, parse
from harvester.store.lock import holder_name, try_lock
from harvester.store.migrate import look, refuse_unready, upgrade
from harvester.store.sql import insert_new
from harvester.store.types import AccountHeld, AccountIdentity, OrderProgress, SchemaFit, other_days

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from harvester.core.model import Series

_T = TypeVar("_T")


class Database:
    """A database to harvest into. Opened with the first claim.

    Args:
        url: `sqlite:///FILE`, or what libpq takes.
        schema: PostgreSQL's.
        password: PostgreSQL's, if it is not in the URL or where libpq looks for it.
        auto_migrate: bring PostgreSQL to the newest schema too, as is always done with SQLite.
        executor: runs all SQL, one call at a time; by default a thread.
        now: the host's epoch seconds.
    """

    def __init__(
        self,
        url: str,
        schema: str = "public",
        password: str | None = None,
        *,
        auto_migrate: bool = False,
        executor: Executor | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._target = parse(url, schema, password)
        self._auto_migrate = auto_migrate or isinstance(self._target, SqliteTarget)
        self._writer = DatabaseThread(executor)
        self._now = now
        self._connection: StoreConnection | None = None
        self._claimed: dict[str, AccountStore] = {}

    async def claim(self, identity: AccountIdentity) -> AccountStore | AccountHeld:
        """Become the account's only spender, or learn who is.

        Raises:
            ConfigError: the account's days or weeks are not those of the stored rows.
            StoreLost: the connection was lost since the last claim; claim once more.
            StoreError: the database cannot be used.
        """
        return await self._writer.run(lambda: self._claim(identity), undo=_give_back)

    async def place_order(
        self, account: str, *, first: date, last: date, refetch: bool, series: Sequence[Series]
    ) -> int | None:
        """Ask whoever holds the account to backfill it; needs no claim.

        Its owner has to look at it by `beat_order` every few seconds, and to withdraw it in the end.

        Args:
            account: the account's name.
            first: the first day wanted.
            last: the last day wanted, inclusive.
            refetch: fetch what is final too.
            series: what is wanted, all of this account.

        Returns:
            The order's number; None if the account was never claimed yet: try again a moment later.

        Raises:
            StoreLost: the connection was lost since the last call; the next one opens another.
            StoreError: the database cannot be used.
        """

        def work(connection: Connection) -> int | None:
            return orders.place(
                connection, account, holder_name(), first=first, last=last, refetch=refetch, series=series
            )

        return await self._writer.run(lambda: self._transact(work), undo=self._withdraw)

    async def beat_order(self, number: int) -> OrderProgress | None:
        """Show that the order's owner lives, and learn what has become of the order.

        Returns:
            None: it is gone. If nobody withdrew it, the host slept or a clock was stepped; place it again.

        Raises:
            StoreLost: the connection was lost since the last call; the next one opens another.
            StoreError: the database cannot be used.
        """
        return await self._writer.run(lambda: self._beat(number))

    async def withdraw_order(self, number: int) -> None:
        """Delete the order, whatever has become of it; harmless where it is gone.

        Raises:
            StoreLost: the connection was lost since the last call; the next one opens another.
            StoreError: the database cannot be used. The order goes stale.
        """
        await self._writer.run(lambda: self._withdraw(number))

    async def close(self) -> None:
        """Release all accounts, end the connection and the thread."""
        try:
            await self._writer.run(self._close)
        finally:
            self._writer.close()

    def _opened(self) -> StoreConnection:
        if self._connection is not None and not self._connection.lost:
            return self._connection
        self._drop()
        state = look(self._target)  # reads only: a file that is not ours stays as it is, and Alembic unloaded
        if self._auto_migrate and state.fit is not SchemaFit.HEAD:
            upgrade(self._target)
        else:
            refuse_unready(self._target, state)
        self._connection = StoreConnection(self._target)
        return self._connection

    def _claim(self, identity: AccountIdentity) -> AccountStore | AccountHeld:
        session = self._opened()
        mine = self._claimed.get(identity.name)
        if mine is not None and not mine.released:
            return AccountHeld("this process")
        unlock = try_lock(session, identity.name)
        if unlock is None:
            return AccountHeld(
                _holder(session, identity.name)
            )  # this and all before wrote nothing: a standby asks often
        try:
            with session.transaction() as connection:
                number = _enter(connection, identity)
        except BaseException:
            if not session.lost:
                unlock()
            raise
        store = AccountStore(identity, number, session, self._writer, unlock, self._now)
        self._claimed[identity.name] = store
        return store

    def _transact(self, work: Callable[[Connection], _T], *, reading: bool = False) -> _T:
        with self._opened().transaction(reading=reading) as connection:
            return work(connection)

    def _beat(self, number: int) -> OrderProgress | None:
        found = self._transact(lambda connection: orders.look(connection, number), reading=True)
        if found is None:
            return None
        progress, is_due = found
        if is_due and not self._transact(lambda connection: orders.beat(connection, number)):
            return None
        return progress

    def _withdraw(self, number: int | None) -> None:
        if number is not None:
            self._transact(lambda connection: orders.withdraw(connection, number))

    def _close(self) -> None:
        try:
            for store in self._claimed.values():
                store.release_now()
        finally:
            self._drop()

    def _drop(self) -> None:
        session, self._connection = self._connection, None
        for store in self._claimed.values():
            store.abandon()
        self._claimed.clear()
        if session is not None:
            with suppress(StoreError):  # there is nothing left to lose
                session.close()


def _give_back(claimed: AccountStore | AccountHeld) -> None:
    if isinstance(claimed, AccountStore):
        claimed.release_now()


def _holder(session: StoreConnection, account: str) -> str:
    table = schema.account
    with session.transaction(reading=True) as connection:
        name = connection.scalar(select(table.c.holder).where(table.c.name == account))
    return name or "another process"


def _enter(connection: Connection, identity: AccountIdentity) -> int:
    """Write the account down as configured; returns its number."""
    table = schema.account
    values = {
        "base_url": identity.base_url,
        "timezone": identity.timezone,
        "week_start": identity.week_start.value,
        "settle_days": identity.settle_days,
        "start": identity.start,
        "holder": holder_name(),
    }
    known = connection.execute(select(table).where(table.c.name == identity.name)).first()
    if known is None:
        insert_new(connection, table, [{"name": identity.name, **values}])
        known = connection.execute(select(table).where(table.c.name == identity.name)).one()
    else:
        _refuse_other_days(connection, known.id, queries.identity(connection, known), identity)
        connection.execute(update(table).where(table.c.id == known.id).values(**values))
    number: int = known.id
    wanted = dict(identity.phones)
    if wanted != dict(queries.identity(connection, known).phones):
        phone = schema.phone
        connection.execute(delete(phone).where(phone.c.account_id == number))
        if wanted:
            rows = [{"account_id": number, "phone": digits, "name": name} for digits, name in wanted.items()]
            connection.execute(insert(phone), rows)
    return number


def _refuse_other_days(connection: Connection, number: int, stored: AccountIdentity, now: AccountIdentity) -> None:
    if (stored.timezone, stored.week_start) == (now.timezone, now.week_start):
        return
    series = schema.series
    periods = select(series.c.period).join(schema.coverage).where(series.c.account_id == number).distinct()
    if problems := other_days(stored, now, [Period(period) for period in connection.scalars(periods)]):
        raise ConfigError(*problems.values())
