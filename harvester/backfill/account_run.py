"""Backfill of one account: claim it, plan what is missing, fetch that within the quota, release it.

A database connection that drops takes the account's lock with it. Then nothing more is sent. The account is claimed
again and what is still missing is planned again, for at most `RECONNECT_SECONDS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import date

from harvester.backfill.handover import Handover
from harvester.config import Account
from harvester.core.absence import count_unconfirmed
from harvester.core.model import RunReport
from harvester.database.patience import TOUCH_SECONDS
from harvester.engine.account_plan import (
    BackfillRequest,
    configured_series,
    identity_of,
    limit_trackers_of,
    plan_account,
    stored_of,
)
from harvester.engine.process import Process
from harvester.engine.session import Session, record_error, record_success
from harvester.errors import Busy, HarvesterError, Interrupted, StoreError, StoreLost
from harvester.events import Event
from harvester.runner.coordinator import Coordinator
from harvester.runner.worker_pool import WorkerPool
from harvester.store.account_store import AccountStore
from harvester.store.types import AccountHeld, RecordedState
from harvester.throttle import Throttle

RECONNECT_SECONDS = 30.0  # in which a lost database may come back
POLL_SECONDS = 0.5  # between two attempts to claim the account


class AccountRun:
    """Run of one account. Used once; `report` and the other public attributes may be read while it runs."""

    def __init__(self, process: Process, account: Account, request: BackfillRequest) -> None:
        self.account = account
        self.report = RunReport(account.name)
        self.held_by: str | None = None  # the process that holds the account, while this one waits for it
        self.throttle: Throttle | None = None
        self.coordinator: Coordinator | None = None
        self._process = process
        self._request = request
        self._pool: WorkerPool | None = None
        self._interrupted = False
        self._connected = False  # the database worked at least once
        self._lost_since: float | None = None  # monotonic seconds, while the database is lost
        self._reported_holder: str | None = None

    def interrupt(self) -> None:
        """Send nothing more; `run` raises Interrupted once the requests in flight have ended."""
        self._interrupted = True
        if self._pool is not None:
            self._pool.interrupt()

    async def run(self) -> None:
        """Fetch until nothing that the API has is missing.

        Raises:
            HarvesterError: the run ended early; `report` holds what was done until then.
        """
        # Outlives a lost connection: a second order for the same days would be carried out beside the first.
        handover = Handover(self._process.database, self.account, self._request, self.report, self._today())
        try:
            while await self._claim_and_work(handover):
                pass
        finally:
            await handover.withdraw()

    async def _claim_and_work(self, handover: Handover) -> bool:
        """Claim the account and work on it. Return True if the database was lost meanwhile, and may come back."""
        try:
            store = await self._claim(handover)
        except StoreError as error:
            await self._wait_for_database(error)
            return True
        if store is None:
            return False
        try:
            await self._work(store)
        except StoreLost as error:
            await self._wait_for_database(error)
            return True
        finally:
            await store.release()
        return False

    async def _claim(self, handover: Handover) -> AccountStore | None:
        """Wait for the account and return its store; None if its holder has carried out the request instead."""
        while True:
            if self._interrupted:
                raise Interrupted
            claimed = await self._process.database.claim(identity_of(self.account, self._process.settings))
            self._connected = True
            if not isinstance(claimed, AccountHeld):
                self.held_by = None
                await handover.withdraw()
                if self._reported_holder and not (self._request.repeat or handover.taken_up):
                    await claimed.release()
                    raise Busy(f"{self.account.name}, held until now by {self._reported_holder}; run it again later")
                return claimed
            self._note_holder(claimed.holder)
            if await handover.step():
                return None
            self._lost_since = None
            self.held_by = None if handover.taken_up else claimed.holder
            await self._process.pause(POLL_SECONDS)

    def _note_holder(self, holder: str) -> None:
        if not self._request.wait:
            raise Busy(f"{self.account.name}, held by {holder}; omit --no-wait to wait for it")
        if holder != self._reported_holder:
            self._reported_holder = holder
            self._emit(Event.WAITING_FOR_ACCOUNT, holder=holder)

    def _today(self) -> date:
        return self.account.calendar.local_date(self._process.clock.time())

    async def _wait_for_database(self, error: StoreError) -> None:
        """Pause before the next claim; raise the error if it is not worth waiting.

        A database that worked a moment ago may come back. One that never worked will not.
        """
        now = self._process.clock.monotonic()
        if self._lost_since is None:
            if not isinstance(error, StoreLost) or not self._connected:
                raise error
            self._lost_since = now
            self._emit(Event.DATABASE_LOST, error=str(error))
        if now - self._lost_since >= RECONNECT_SECONDS:
            raise error
        await self._process.clock.sleep(POLL_SECONDS)

    async def _work(self, store: AccountStore) -> None:
        process, account = self._process, self.account
        series = configured_series(account)
        absent = await store.unconfirmed_absence()
        stored = stored_of(await store.coverage(series), await store.failed(series), absent)
        limit_trackers = limit_trackers_of(account, await store.range_limits())
        settle_days = process.settings.daemon.settle_days
        plan = plan_account(account, self._request, stored, limit_trackers, settle_days, process.clock.time())
        self._lost_since = None
        if not plan.slices:  # without requests neither password nor connection is needed
            self.report.slices.already_covered = plan.already_covered
            self.report.unconfirmed_absent = count_unconfirmed(absent, series, account.calendar)
            await store.set_state(RecordedState.OK)
            return
        async with Session(process, account, store, previous=self.throttle) as session:
            self.throttle = session.throttle
            self.coordinator = session.coordinator(plan, self.report, limit_trackers)
            self._pool = session.pool(self.coordinator)
            if self._interrupted:
                self._pool.interrupt()
            try:
                async with self._signs_of_life(store, self._pool):
                    await self._pool.run()
            except HarvesterError as error:
                await record_error(store, error)
                raise
            finally:
                self._pool = None
        absent = await store.unconfirmed_absence()
        self.report.unconfirmed_absent = count_unconfirmed(absent, series, account.calendar)
        await record_success(store, account, self.report, process.clock.time())

    @asynccontextmanager
    async def _signs_of_life(self, store: AccountStore, pool: WorkerPool) -> AsyncIterator[None]:
        """Use the connection regularly during the block, also while it waits for the quota.

        A server ends a session that is silent for too long, because it may hold the account for a process that hangs.
        The other way round, a server that hangs is noticed.

        Raises:
            StoreLost: the connection was lost.
        """

        async def touch() -> None:
            while True:
                await self._process.pause(TOUCH_SECONDS)
                try:
                    await store.touch()
                except StoreLost:
                    pool.recall()
                    raise

        touching = asyncio.create_task(touch())
        try:
            yield
        finally:
            touching.cancel()
            with suppress(asyncio.CancelledError):
                await touching  # raises StoreLost, or a bug

    def _emit(self, event: Event, /, **facts: object) -> None:
        self._process.emit(event, account=self.account.name, **facts)
