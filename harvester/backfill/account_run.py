"""One account's harvest: claim it, see what is missing, drain that through its quota, give it back.

A database connection that drops takes the account's lock with it. Then nothing more is sent; the account is claimed
again and the difference computed anew, for as long as `RECONNECT_SECONDS` allows.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from harvester.backfill.handover import Handover
from harvester.core.model import RunReport
from harvester.engine.account_plan import (
    BackfillRequest,
    configured_series,
    identity_of,
    limit_trackers_of,
    plan_account,
    stored_of,
)
from harvester.engine.session import Session, record_error, record_success
from harvester.errors import (
    Busy,
    HarvesterError,
    Interrupted,
    StoreError,
    StoreLost,
)
from harvester.events import Event
from harvester.store.types import AccountHeld, RecordedState

if TYPE_CHECKING:
    from harvester.config import Account
    from harvester.engine.process import Process
    from harvester.runner.coordinator import Coordinator
    from harvester.runner.worker_pool import WorkerPool
    from harvester.store.account_store import AccountStore
    from harvester.throttle import Throttle

RECONNECT_SECONDS = 30.0  # in which a lost database may come back
POLL_SECONDS = 0.5  # between two attempts to claim the account


class AccountRun:
    """One account being harvested. Used once; `report` and the properties may be read meanwhile."""

    def __init__(self, process: Process, account: Account, request: BackfillRequest) -> None:
        self.account = account
        self.report = RunReport(account.name)
        self.held_by: str | None = None  # who holds the account, while waited for
        self.throttle: Throttle | None = None
        self.coordinator: Coordinator | None = None
        self._process = process
        self._request = request
        self._pool: WorkerPool | None = None
        self._interrupted = False
        self._lost_since: float | None = None
        self._told_holder: str | None = None

    def interrupt(self) -> None:
        """Take no more work; `run` raises Interrupted when what is in flight has ended."""
        self._interrupted = True
        if self._pool is not None:
            self._pool.interrupt()

    async def run(self) -> None:
        """Harvest until nothing that can be had is missing.

        Raises:
            HarvesterError: it ended before; `report` tells how far it came.
        """
        while True:
            try:
                store = await self._claim()
            except StoreError as error:
                await self._bear_with(error)
                continue
            if store is None:
                return
            try:
                await self._work(store)
            except StoreLost as error:
                await self._bear_with(error)
            else:
                return
            finally:
                await store.release()

    async def _claim(self) -> AccountStore | None:
        """The account; or None where whoever holds it has done what was wanted."""
        handover = Handover(self._process.database, self.account, self._request, self.report, self._today())
        try:
            while True:
                if self._interrupted:
                    raise Interrupted
                claimed = await self._process.database.claim(identity_of(self.account, self._process.settings))
                if not isinstance(claimed, AccountHeld):
                    self.held_by = None
                    return claimed
                self._note_holder(claimed.holder)
                if await handover.step():
                    return None
                self.held_by = None if handover.taken_up else claimed.holder
                await self._process.pause(POLL_SECONDS)
        finally:
            await handover.withdraw()

    def _note_holder(self, holder: str) -> None:
        if not self._request.wait:
            raise Busy(f"{self.account.name} is held by {holder}")
        if holder != self._told_holder:
            self._told_holder = holder
            self._emit(Event.WAITING_FOR_ACCOUNT, holder=holder)

    def _today(self) -> date:
        return self.account.calendar.local_date(self._process.clock.time())

    async def _bear_with(self, error: StoreError) -> None:
        """A database that was there a moment ago may come back; one that never was does not."""
        now = self._process.clock.monotonic()
        if self._lost_since is None:
            if not isinstance(error, StoreLost) or not self.report.requests:
                raise error
            self._lost_since = now
            self._emit(Event.DATABASE_LOST, error=str(error))
        if now - self._lost_since >= RECONNECT_SECONDS:
            raise error
        await self._process.clock.sleep(POLL_SECONDS)

    async def _work(self, store: AccountStore) -> None:
        process, account = self._process, self.account
        series = configured_series(account)
        stored = stored_of(await store.coverage(series), await store.failed(series))
        limit_trackers = limit_trackers_of(account, await store.range_limits())
        settle_days = process.settings.daemon.settle_days
        plan = plan_account(account, self._request, stored, limit_trackers, settle_days, process.clock.time())
        self._lost_since = None
        if not plan.slices:  # neither a password nor a connection is needed for nothing
            self.report.slices.already_covered = plan.already_covered
            await store.set_state(RecordedState.OK)
            return
        async with Session(process, account, store) as session:
            self.throttle = session.throttle
            self.coordinator = session.coordinator(plan, self.report, limit_trackers)
            self._pool = session.pool(self.coordinator)
            if self._interrupted:
                self._pool.interrupt()
            try:
                await self._pool.run()
            except HarvesterError as error:
                await record_error(store, error)
                raise
            finally:
                self._pool = None
        await record_success(store, account, self.report, process.clock.time())

    def _emit(self, event: Event, /, **facts: object) -> None:
        self._process.emit(event, account=self.account.name, **facts)
