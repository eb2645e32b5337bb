"""One account's store, in the hands of its only spender."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, delete, insert, select, update

from harvester.core.period import Calendar
from harvester.errors import StoreLost
from harvester.failpoints import Step, step
from harvester.store import orders, queries, schema
from harvester.store.ids import IdCache
from harvester.store.ledger import Ledgers
from harvester.store.sql import upsert
from harvester.store.values import plain, store_answers

if TYPE_CHECKING:
    from harvester.core.model import Batch, FailedSlice, QuotaRecord, RangeLimits, RowCounts, Series, Stretch
    from harvester.store.connection import StoreConnection
    from harvester.store.db_thread import DatabaseThread
    from harvester.store.types import AccountIdentity, BackfillOrder, FailedRange, RecordedState

_T = TypeVar("_T")

_AUTH_KEPT = 86400.0  # seconds for which authentication attempts are remembered


class AccountStore:
    """Everything that is stored of one claimed account: runner.ports.Store, and the throttle's ledger.

    Every method raises StoreLost once the connection is gone, and from then on: claim the account again.
    """

    def __init__(
        self,
        identity: AccountIdentity,
        account_id: int,
        session: StoreConnection,
        writer: DatabaseThread,
        unlock: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.identity = identity
        self._id = account_id
        self._calendar = Calendar(ZoneInfo(identity.timezone), identity.week_start)
        self._names = IdCache(identity.name, account_id)
        self._ledgers = Ledgers(self._calendar, identity.settle_days)
        self._session = session
        self._writer = writer
        self._unlock = unlock
        self._now = now
        self._released = False

    async def commit(self, batches: Sequence[Batch], failures: Sequence[FailedSlice]) -> RowCounts:
        """Store answers and the state of their slices in one transaction; all or nothing, and safe to repeat.

        Raises:
            StoreError: nothing of it was stored; with StoreLost that is not known.
        """
        at = int(self._now())

        def work(connection: Connection) -> RowCounts:
            noted = [(failure, at) for failure in failures]
            return store_answers(connection, self._names, self._ledgers, self._calendar, batches, noted)

        return await self._run(work)

    async def coverage(self, series: Sequence[Series]) -> dict[Series, list[Stretch]]:
        """What is stored of each of these series, in order; an empty list where nothing is."""

        def work(connection: Connection) -> dict[Series, list[Stretch]]:
            self._ledgers.forget()
            return queries.coverage(connection, self.identity.name)

        found = await self._read(work)
        return {one: found.get(one, []) for one in series}

    async def failed(self, series: Sequence[Series]) -> list[FailedRange]:
        """The failed slices of these series, in order."""
        wanted = set(series)
        found = await self._read(lambda connection: queries.failed(connection, self.identity.name))
        return [one for one in found if one.series in wanted]

    async def range_limits(self) -> dict[str, RangeLimits]:
        """How wide a range the server takes, by resource, as far as known."""
        return await self._read(lambda connection: queries.range_limits(connection, self._id))

    async def save_range_limits(self, resource: str, limits: RangeLimits) -> None:
        """Remember how wide a range the server takes."""
        row = {
            "account_id": self._id,
            "resource": resource,
            "accepted": limits.accepted,
            "refused": limits.refused,
            "refused_at": limits.refused_at,
        }
        await self._run(lambda connection: upsert(connection, schema.range_limits, row))

    async def load(self) -> QuotaRecord | None:
        """What was last written down of the quota, by whatever process."""
        return await self._read(lambda connection: queries.quota(connection, self._id))

    async def save(self, record: QuotaRecord) -> None:
        """Write the quota down; on return it holds against a crash."""
        row = {"account_id": self._id, **{name: getattr(record, name) for name in queries.QUOTA_FIELDS}}
        await self._run(lambda connection: upsert(connection, schema.quota, row))

    async def auth_attempts(self) -> list[float]:
        """When authentication was tried, in host's epoch seconds, oldest first; a day back."""
        table = schema.auth_attempt
        statement = select(table.c.at).where(table.c.account_id == self._id).order_by(table.c.at)
        return await self._read(lambda connection: list(connection.scalars(statement)))

    async def record_auth_attempt(self, at: float) -> None:
        """Remember an attempt, before it is made; forget those older than a day."""
        table = schema.auth_attempt

        def work(connection: Connection) -> None:
            connection.execute(delete(table).where(table.c.account_id == self._id, table.c.at < at - _AUTH_KEPT))
            connection.execute(insert(table).values(account_id=self._id, at=at))

        await self._run(work)

    async def orders(self) -> list[BackfillOrder]:
        """What backfills beside this process want of it and is not done, oldest first. Deletes what dead ones left.

        Cheap enough to be asked every second: it writes only where there is something to delete.
        """
        name = self.identity.name
        wanted, some_are_stale = await self._read(lambda connection: orders.find(connection, self._id, name))
        if not some_are_stale:
            return wanted

        def work(connection: Connection) -> list[BackfillOrder]:
            orders.drop_stale(connection, self._id)
            return orders.find(connection, self._id, name)[0]  # what was found before may have ended meanwhile

        return await self._run(work)

    async def report_order(self, number: int, report: str) -> bool:
        """Tell an order's owner how far it is, as JSON.

        Returns:
            False: the order was withdrawn, or its owner is dead; leave it.
        """
        if await self._read(lambda connection: orders.is_reported(connection, self._id, number, report)):
            return True  # nothing new, perhaps for a quota window: nothing is written
        return await self._run(lambda connection: orders.report(connection, self._id, number, report))

    async def finish_order(self, number: int, report: str, error: tuple[str, str] | None = None) -> None:
        """Tell an order's owner how it ended: `error` is the code and the message of what stopped it.

        Does nothing where the order is gone.
        """
        await self._run(lambda connection: orders.finish(connection, self._id, number, report, error))

    async def set_state(self, state: RecordedState, reason: str = "") -> None:
        """Say how the account fares, for `status`."""
        await self._update({"state": state.value, "reason": plain(reason)})

    async def set_answer(self, text: str, at: float) -> None:
        """Say what the newest contact with the API showed, in one line (`at`: epoch seconds)."""
        await self._update({"answer": plain(text), "answered_at": int(at)})

    async def release(self) -> None:
        """Give the account back. Does nothing the second time, nor where the connection is gone with the lock."""
        await self._writer.run(self.release_now)

    @step(Step.RELEASE)
    def release_now(self) -> None:
        """As `release`, in the writer's thread."""
        if self._released:
            return
        self._released = True
        account = schema.account
        try:
            with suppress(StoreLost), self._session.transaction() as connection:
                connection.execute(update(account).where(account.c.id == self._id).values(holder=""))
        finally:
            with suppress(StoreLost):
                self._unlock()

    @property
    def released(self) -> bool:
        """Whether the account was given back."""
        return self._released

    def abandon(self) -> None:
        """The session is gone; where the lock does not go with it, give that back. In the writer's thread."""
        if not self._released:
            self._released = True
            with suppress(StoreLost):
                self._unlock()

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
                raise StoreLost(f"the account {self.identity.name} was given back")
            try:
                with self._session.transaction(reading=reading) as connection:
                    return work(connection)
            except BaseException:
                self._names.forget()
                self._ledgers.forget()
                raise

        return await self._writer.run(job)
