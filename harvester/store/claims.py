"""The writing side of the database: claim an account, hold it as its only writer, release it.

All accounts of a process share one connection in one thread, and in PostgreSQL their locks share it, too. When the
connection is lost, every account claimed over it is lost; the next claim opens another connection.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import date
from threading import Event
from typing import TypeVar

from sqlalchemy import Connection, delete, insert, select, text, update

from harvester.core.model import Series
from harvester.core.period import Period
from harvester.database.connection import StoreConnection
from harvester.database.db_thread import DatabaseThread
from harvester.database.dsn import SqliteTarget, parse, refuse_foreign_links
from harvester.database.lock import holder_name, try_lock
from harvester.database.patience import ORDINARY, Patience
from harvester.database.pooler import refuse_pooler
from harvester.database.sql import insert_new
from harvester.errors import ConfigError, StoreError, StoreLost
from harvester.store import orders, queries, schema
from harvester.store.account_store import AccountStore
from harvester.store.migrate import migrate_target
from harvester.store.schema_state import refuse_unready, schema_state_of
from harvester.store.types import AccountHeld, AccountIdentity, OrderProgress, SchemaFit, other_days
from harvester.store.values import REJECT_AGE

_T = TypeVar("_T")


class Database:
    """A database to store values in. It is opened by the first call that needs it.

    Args:
        url: `sqlite:///FILE` or a libpq URL.
        schema: of PostgreSQL.
        password: of PostgreSQL, if it is neither in the URL nor where libpq looks for it.
        auto_migrate: migrate PostgreSQL to the newest schema, too; SQLite always is.
        executor: runs all SQL, one call at a time; by default a thread.
        now: epoch seconds of the host.
        patience: deadlines of statements in PostgreSQL.
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
        patience: Patience = ORDINARY,
    ) -> None:
        self._target = parse(url, schema, password)
        self._auto_migrate = auto_migrate or isinstance(self._target, SqliteTarget)
        self._thread = DatabaseThread(executor)
        self._now = now
        self._connection: StoreConnection | None = None
        self._claimed: dict[str, AccountStore] = {}
        self._patience = patience
        self._cut_off = Event()
        self._failed_at = 0.0  # monotonic seconds at which the newest attempt to connect failed
        self._failure: StoreError | None = None
        self.migrates = False  # a migration is running

    @property
    def waits_for(self) -> float:
        """Seconds for which the oldest unfinished call has waited for the database, its queue included."""
        since = self._thread.waiting_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def runs_for(self) -> float:
        """Seconds for which the present call has been running; 0 during a migration, which may take long."""
        since = self._thread.running_since
        return 0.0 if since is None or self.migrates else time.monotonic() - since

    def cut_off(self) -> None:
        """Close the connection under the present call, which fails, like all later ones. For the end of the process.

        Locks of PostgreSQL end with the connection. May be called from any thread.
        """
        self._cut_off.set()

    async def probe(self) -> None:
        """Check that the database can be written to, without writing anything.

        Raises:
            StoreError: it cannot.
        """
        await self._thread.run(lambda: self._transact(_ask))

    async def claim(self, identity: AccountIdentity) -> AccountStore | AccountHeld:
        """Claim the account for this process, and store it as configured.

        Returns:
            The account's store, or AccountHeld if it is claimed already.

        Raises:
            ConfigError: the stored rows belong to other days or weeks than the configured ones.
            StoreLost: the connection was lost since the last claim; claim again.
            StoreError: the database cannot be used.
        """
        asked_at = time.monotonic()
        return await self._thread.run(lambda: self._claim(identity, asked_at), undo=_release_claimed)

    async def place_order(
        self, account: str, *, first: date, last: date, refetch: bool, series: Sequence[Series]
    ) -> int | None:
        """Place an order: ask the process that holds the account to backfill it. Needs no claim.

        The owner must call `beat_order` every few seconds, and `withdraw_order` in the end.

        Args:
            account: the account's name.
            first: the first day wanted.
            last: the last day wanted, inclusive.
            refetch: fetch final periods, too.
            series: the series wanted, all of this account.

        Returns:
            The order's id; None if the account was never claimed yet: try again a moment later.

        Raises:
            StoreLost: the connection was lost since the last call; the next one opens another.
            StoreError: the database cannot be used.
        """

        def work(connection: Connection) -> int | None:
            return orders.place(
                connection, account, holder_name(), first=first, last=last, refetch=refetch, series=series
            )

        return await self._thread.run(lambda: self._transact(work), undo=self._withdraw)

    async def beat_order(self, order_id: int) -> OrderProgress | None:
        """Renew the heartbeat of the order if it is due, and return the order's progress.

        Returns:
            None if the order is gone. Unless it was withdrawn, the host slept or a clock was stepped: place it again.

        Raises:
            StoreLost: the connection was lost since the last call; the next one opens another.
            StoreError: the database cannot be used.
        """
        return await self._thread.run(lambda: self._beat(order_id))

    async def withdraw_order(self, order_id: int) -> None:
        """Delete the order in whatever state it is; does nothing if it is gone.

        Raises:
            StoreLost: the connection was lost since the last call; the next one opens another.
            StoreError: the database cannot be used; the order becomes stale.
        """
        await self._thread.run(lambda: self._withdraw(order_id))

    async def close(self) -> None:
        """Release all accounts, close the connection and end the thread."""
        try:
            await self._thread.run(self._close)
        finally:
            self._thread.close()

    def _open_connection(self, asked_at: float = math.inf) -> StoreConnection:
        """Return the connection; open one if there is none.

        Args:
            asked_at: the monotonic moment of the call. If an attempt to connect has failed since, so does this one:
                else many accounts would wait for the same server one after another.
        """
        if self._cut_off.is_set():
            raise StoreLost(f"{self._target}: closed, because this process ends")
        if self._connection is not None and not self._connection.lost:
            return self._connection
        if self._failure is not None and asked_at < self._failed_at:
            raise type(self._failure)(self._failure.detail)
        self._drop()
        try:
            self._connection = self._connect()
        except StoreError as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise
        return self._connection

    def _connect(self) -> StoreConnection:
        refuse_foreign_links(self._target)
        # Reads only: a file of another program stays as it is, and Alembic is not imported.
        state = schema_state_of(self._target, patience=self._patience, cut_off=self._cut_off)
        if self._auto_migrate and state.fit is not SchemaFit.HEAD:
            self.migrates = True
            try:
                migrate_target(self._target, cut_off=self._cut_off)
            finally:
                self.migrates = False
        else:
            refuse_unready(self._target, state)
        store_connection = StoreConnection(self._target, patience=self._patience, cut_off=self._cut_off)
        try:
            refuse_pooler(store_connection, cut_off=self._cut_off)
        except BaseException:
            store_connection.close()
            raise
        return store_connection

    def _claim(self, identity: AccountIdentity, asked_at: float) -> AccountStore | AccountHeld:
        store_connection = self._open_connection(asked_at)
        for claimed in self._claimed.values():
            same = identity.name == claimed.identity.name or identity.quota_key == claimed.identity.quota_key
            if same and not claimed.released:
                return AccountHeld("this process")
        lock = try_lock(store_connection, identity.name, identity.quota_key)
        if lock is None:
            # Nothing was written up to here: a standby comes this way every few seconds.
            return AccountHeld(_holder(store_connection, identity))
        try:
            with store_connection.transaction() as connection:
                account_id = _store_identity(connection, identity)
        except BaseException:
            if not store_connection.lost:
                lock.release()
            raise
        store = AccountStore(identity, account_id, store_connection, self._thread, lock, self._now)
        self._claimed[identity.name] = store
        return store

    def _transact(self, work: Callable[[Connection], _T], *, reading: bool = False) -> _T:
        with self._open_connection().transaction(reading=reading) as connection:
            return work(connection)

    def _beat(self, order_id: int) -> OrderProgress | None:
        found = self._transact(lambda connection: orders.read_progress(connection, order_id), reading=True)
        if found is None:
            return None
        progress, is_due = found
        if is_due and not self._transact(lambda connection: orders.beat(connection, order_id)):
            return None
        return progress

    def _withdraw(self, order_id: int | None) -> None:
        if order_id is not None:
            self._transact(lambda connection: orders.withdraw(connection, order_id))

    def _close(self) -> None:
        try:
            for store in self._claimed.values():
                store.release_now()
        finally:
            self._drop()

    def _drop(self) -> None:
        store_connection, self._connection = self._connection, None
        for store in self._claimed.values():
            store.abandon()
        self._claimed.clear()
        if store_connection is not None:
            with suppress(StoreError):  # it is not used again, and its transactions have ended
                store_connection.close()


def _ask(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))


def _release_claimed(claimed: AccountStore | AccountHeld) -> None:
    if isinstance(claimed, AccountStore):
        claimed.release_now()


def _holder(store_connection: StoreConnection, identity: AccountIdentity) -> str:
    """Return the holder of the account, or of another one with the same login."""
    table = schema.account
    same = (table.c.name == identity.name) | (table.c.spender == identity.quota_key)
    statement = select(table.c.name, table.c.holder).where(same, table.c.holder != "")
    with store_connection.transaction(reading=True) as connection:
        holders = {row.name: row.holder for row in connection.execute(statement.order_by(table.c.name))}
    if identity.name in holders or not holders:
        return str(holders.get(identity.name, "another process"))
    name, holder = next(iter(holders.items()))
    return f"{holder} as account {name}, which has the same login"


def _store_identity(connection: Connection, identity: AccountIdentity) -> int:
    """Store the account as configured, with its holder; return its id."""
    table = schema.account
    values = {
        "base_url": identity.base_url,
        "timezone": identity.timezone,
        "week_start": identity.week_start.value,
        "settle_days": identity.settle_days,
        "start": identity.start,
        "holder": holder_name(),
        "spender": identity.spender,
    }
    row = connection.execute(select(table).where(table.c.name == identity.name)).first()
    if row is None:
        insert_new(connection, table, [{"name": identity.name, **values}])
        row = connection.execute(select(table).where(table.c.name == identity.name)).one()
    else:
        stored = queries.identity(connection, row)
        _refuse_other_days(connection, row.id, stored, identity)
        if not stored.spender and identity.spender:
            _adopt_quota(connection, stored.quota_key, identity.quota_key)
        connection.execute(update(table).where(table.c.id == row.id).values(**values))
    account_id: int = row.id
    _delete_old_rejects(connection, account_id)
    configured = dict(identity.phones)
    if configured != dict(queries.identity(connection, row).phones):
        phone = schema.phone
        connection.execute(delete(phone).where(phone.c.account_id == account_id))
        if configured:
            rows = [{"account_id": account_id, "phone": digits, "name": name} for digits, name in configured.items()]
            connection.execute(insert(phone), rows)
    return account_id


def _delete_old_rejects(connection: Connection, account_id: int) -> None:
    reject, series = schema.reject, schema.series
    of_account = select(series.c.id).where(series.c.account_id == account_id)
    oldest = int(time.time()) - REJECT_AGE
    connection.execute(delete(reject).where(reject.c.series_id.in_(of_account), reject.c.seen_at < oldest))


def _adopt_quota(connection: Connection, own: str, key: str) -> None:
    """Give the quota record and the authentications of an account of an earlier version to its login.

    The newest record is stored: what the server said in it counts the requests of all who use the login.
    """
    quota, attempt = schema.quota, schema.auth_attempt
    connection.execute(update(attempt).where(attempt.c.spender == own).values(spender=key))
    found = connection.execute(
        select(quota.c.spender).where(quota.c.spender.in_([own, key])).order_by(quota.c.recorded_at)
    )
    *older, newest = list(found.scalars()) or [key]
    connection.execute(delete(quota).where(quota.c.spender.in_(older)))
    connection.execute(update(quota).where(quota.c.spender == newest).values(spender=key))


def _refuse_other_days(
    connection: Connection, account_id: int, stored: AccountIdentity, configured: AccountIdentity
) -> None:
    """Raise ConfigError if the stored days or weeks are not the configured ones."""
    if (stored.timezone, stored.week_start) == (configured.timezone, configured.week_start):
        return
    series = schema.series
    periods = select(series.c.period).join(schema.coverage).where(series.c.account_id == account_id).distinct()
    if problems := other_days(stored, configured, [Period(period) for period in connection.scalars(periods)]):
        raise ConfigError(*problems.values())
