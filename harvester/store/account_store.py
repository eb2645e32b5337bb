"""The stored data of one claimed account, for the process that holds it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, delete, insert, select, text, update

from harvester.core.absence import AbsentSpan
from harvester.core.model import (
    Batch,
    FailedSlice,
    QuotaRecord,
    RangeKey,
    RangeLimits,
    RowCounts,
    Series,
    Slice,
    Stretch,
)
from harvester.core.period import Calendar
from harvester.database.connection import StoreConnection
from harvester.database.db_thread import DatabaseThread
from harvester.database.lock import AccountLock, holder_name
from harvester.database.sql import upsert
from harvester.errors import ClaimLost, StoreError, StoreLost
from harvester.failpoints import Step, step
from harvester.store import orders, queries, schema
from harvester.store.ids import IdCache
from harvester.store.ledger import Ledgers
from harvester.store.types import AccountIdentity, BackfillOrder, FailedRange, RecordedState
from harvester.store.values import as_stored_text, store_answers

_T = TypeVar("_T")

_TOUCH = text("SELECT 1")
_AUTH_ATTEMPT_AGE = 86400.0  # seconds after which an authentication attempt is deleted


class AccountStore:
    """Everything that is stored of one claimed account: implements runner.ports.Store and the throttle's QuotaLedger.

    Once the connection is lost, every call of a method raises StoreLost; claim the account again.
    """

    def __init__(
        self,
        identity: AccountIdentity,
        account_id: int,
        store_connection: StoreConnection,
        thread: DatabaseThread,
        lock: AccountLock,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.identity = identity
        self._id = account_id
        self._calendar = Calendar(ZoneInfo(identity.timezone), identity.week_start)
        self._ids = IdCache(identity.name, account_id)
        self._ledgers = Ledgers(self._calendar, identity.settle_days)
        self._store_connection = store_connection
        self._thread = thread
        self._lock = lock
        self._now = now
        self._released = False
        self._refused_on: date | None = None
        self.on_refused_metrics: Callable[[Sequence[str]], None] = lambda _: None  # called once a day at most

    async def commit(self, batches: Sequence[Batch], failures: Sequence[FailedSlice]) -> RowCounts:
        """Store answers and the state of their slices in one transaction; all or nothing, and safe to repeat.

        Raises:
            StoreLost: the connection was lost; unknown if the transaction was stored.
            StoreError: nothing was stored.
        """
        failed_at = int(self._now())

        def work(connection: Connection) -> RowCounts:
            return store_answers(
                connection, self._ids, self._ledgers, self._calendar, batches, failures, failed_at=failed_at
            )

        counts = await self._run(work)
        self._report_refused_metrics(failed_at)
        return counts

    def _report_refused_metrics(self, now: int) -> None:
        today = self._calendar.local_date(now)
        if self._ids.refused and today != self._refused_on:
            self._refused_on = today
            self.on_refused_metrics(sorted(metric.name for metric in self._ids.refused))

    async def coverage(self, series: Sequence[Series]) -> dict[Series, list[Stretch]]:
        """Return the coverage of each of these series, in order; an empty list for a series without any."""

        def work(connection: Connection) -> dict[Series, list[Stretch]]:
            self._ledgers.forget()
            return queries.coverage(connection, self.identity.name)

        found = await self._read(work)
        return {one: found.get(one, []) for one in series}

    async def answered(self) -> list[Slice]:
        """Return the newest stored period of each of the account's series, the most recently answered first."""
        found = await self._read(lambda connection: queries.coverage(connection, self.identity.name))
        newest = sorted(
            ((max(stretch.asked_on for stretch in stretches), stretches[-1].last, series))
            for series, stretches in found.items()
        )
        return [Slice(series, self._calendar.floor(series.period, last), last) for _, last, series in reversed(newest)]

    async def failed(self, series: Sequence[Series]) -> list[FailedRange]:
        """Return the failed slices of these series, by series and day."""
        wanted = set(series)
        found = await self._read(lambda connection: queries.failed(connection, self.identity.name))
        return [one for one in found if one.series in wanted]

    async def unconfirmed_absence(self) -> dict[Series, list[AbsentSpan]]:
        """Return the absence that is not confirmed yet, of each series of the account that has any."""
        return await self._read(lambda connection: queries.unconfirmed_absence(connection, self.identity.name))

    async def range_limits(self) -> dict[RangeKey, RangeLimits]:
        """Return the ranges that the server accepts, by resource and period, as far as known."""
        return await self._read(lambda connection: queries.range_limits(connection, self._id))

    async def save_range_limits(self, key: RangeKey, limits: RangeLimits) -> None:
        """Store the ranges that the server accepts for this resource and period."""
        known = {name: getattr(limits, name) for name in queries.RANGE_LIMITS_FIELDS}
        row = {"account_id": self._id, "resource": key[0], "period": key[1].value, **known}
        await self._run(lambda connection: upsert(connection, schema.range_limits, row))

    async def load(self) -> QuotaRecord | None:
        """Return the quota record that was saved last, by any process; None if there is none."""
        return await self._read(lambda connection: queries.quota(connection, self.identity.quota_key))

    async def save(self, record: QuotaRecord) -> None:
        """Replace the quota record; it is durable on return."""
        row = {"spender": self.identity.quota_key, **{name: getattr(record, name) for name in queries.QUOTA_FIELDS}}
        await self._run(lambda connection: upsert(connection, schema.quota, row))

    async def auth_attempts(self) -> list[float]:
        """Return the authentication attempts of the last day, in epoch seconds of the host, oldest first."""
        table = schema.auth_attempt
        statement = select(table.c.at).where(table.c.spender == self.identity.quota_key).order_by(table.c.at)
        return await self._read(lambda connection: list(connection.scalars(statement)))

    async def record_auth_attempt(self, at: float) -> None:
        """Store an attempt, before it is made, and delete those older than a day."""
        table, key = schema.auth_attempt, self.identity.quota_key

        def work(connection: Connection) -> None:
            connection.execute(delete(table).where(table.c.spender == key, table.c.at < at - _AUTH_ATTEMPT_AGE))
            connection.execute(insert(table).values(spender=key, at=at))

        await self._run(work)

    async def orders(self) -> list[BackfillOrder]:
        """Return the unfinished orders of live backfills, oldest first; delete those that dead backfills left.

        Writes only if there is something to delete, so it may be called every second.
        """
        name = self.identity.name
        unfinished, some_are_stale = await self._read(lambda connection: orders.find(connection, self._id, name))
        if not some_are_stale:
            return unfinished

        def work(connection: Connection) -> list[BackfillOrder]:
            orders.drop_stale(connection, self._id)
            return orders.find(connection, self._id, name)[0]  # an order found before may have ended since

        return await self._run(work)

    async def report_order(self, order_id: int, report: str) -> bool:
        """Store the progress of an order, as JSON, for its owner.

        Returns:
            False if the order was withdrawn or dropped with its dead owner: stop working on it.
        """
        if await self._read(lambda connection: orders.is_reported(connection, self._id, order_id, report)):
            return True  # a report may stay the same for a whole quota window: do not write it again
        return await self._run(lambda connection: orders.report(connection, self._id, order_id, report))

    async def finish_order(self, order_id: int, report: str, error: tuple[str, str] | None = None) -> None:
        """Store the end of an order for its owner; `error` is the code and the message of what ended it early.

        Does nothing if the order is gone.
        """
        await self._run(lambda connection: orders.finish(connection, self._id, order_id, report, error))

    async def set_state(self, state: RecordedState, reason: str = "") -> None:
        """Store the state of the account, for `status`."""
        await self._update({"state": state.value, "reason": as_stored_text(reason)})

    async def set_answer(self, text: str, at: float) -> None:
        """Store the result of the newest contact with the API, in one line, for `check` (`at`: epoch seconds)."""
        await self._update({"answer": as_stored_text(text), "answered_at": int(at)})

    async def touch(self) -> None:
        """Use the connection, so that the server does not end it for its silence, and so that its loss is noticed.

        Raises:
            StoreLost: the connection was lost.
        """
        try:
            await self._read(lambda connection: connection.execute(_TOUCH))
        except StoreLost:
            raise
        except StoreError:
            return  # of no account here: the next call that needs something reports it

    async def release(self) -> None:
        """Release the account. Does nothing if it was released before, or if the connection was lost with its lock."""
        await self._thread.run(self.release_now)

    @step(Step.RELEASE)
    def release_now(self) -> None:
        """Release the account; for callers in the database thread."""
        if self._released:
            return
        self._released = True
        account = schema.account
        try:
            with suppress(StoreLost), self._store_connection.transaction() as connection:
                own = (account.c.id == self._id) & (account.c.holder == holder_name())
                connection.execute(update(account).where(own).values(holder=""))
        finally:
            with suppress(StoreLost):
                self._lock.release()

    @property
    def calendar(self) -> Calendar:
        """The calendar of the account."""
        return self._calendar

    @property
    def released(self) -> bool:
        """True once the account was released."""
        return self._released

    def abandon(self) -> None:
        """Release what is left of the locks after the connection or one of them was lost. For the database thread."""
        if not self._released:
            self._released = True
            with suppress(StoreLost):
                self._lock.release()

    async def _update(self, values: Mapping[str, object]) -> None:
        account = schema.account
        statement = update(account).where(account.c.id == self._id).values(**values)

        def work(connection: Connection) -> None:
            connection.execute(statement)

        await self._run(work)

    async def _read(self, work: Callable[[Connection], _T]) -> _T:
        return await self._run(work, reading=True)

    async def _run(self, work: Callable[[Connection], _T], *, reading: bool = False) -> _T:
        def job() -> _T:
            if self._released:
                raise StoreLost(f"the account {self.identity.name} was released")
            try:
                with self._store_connection.transaction(reading=reading) as connection:
                    self._lock.check()  # inside, so that a process that locks a new file finds this commit
                    return work(connection)
            except BaseException as error:
                self._ids.forget()
                self._ledgers.forget()
                if isinstance(error, ClaimLost):
                    self.abandon()
                raise

        return await self._thread.run(job)
