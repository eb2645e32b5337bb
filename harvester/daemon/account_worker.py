"""Worker that claims one account, keeps it complete and fresh, and releases it at the end.

A round computes what is missing, runs that plan, and sleeps until it is woken: by a tick of the refresh, the end of a
cool-down, a backfill order, or the end of the daemon. A wake-up during the run recalls it: requests in flight are
finished, and the difference is computed again. So there is no queue that could get out of step with the database.

Every error is waited out here, each kind in its own way: a lost database with growing pauses, refused credentials for a
quota window, a wrong calendar until the next tick. No other account is affected.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from harvester.config import Account
from harvester.console.text import duration
from harvester.core.backoff import backoff
from harvester.core.model import Batch, RangeKey, RunReport
from harvester.core.planning import Desire, Rules, plan_slices
from harvester.core.range_limits import RangeLimitTracker
from harvester.daemon.account_state import AccountState, Phase
from harvester.daemon.orders import OrderWorker
from harvester.daemon.reconcile import ProvisionalDays, ReconcilePlan, StoredSeries, plan_reconcile
from harvester.database.lock import holder_name
from harvester.database.patience import IDLE_SESSION_SECONDS
from harvester.engine.account_plan import configured_series, identity_of, limit_trackers_of, max_days_of, stored_of
from harvester.engine.process import Process
from harvester.engine.session import Session, record_error, record_success
from harvester.errors import (
    CalendarMismatch,
    ConfigError,
    HarvesterError,
    Interrupted,
    SchemaUnknown,
    SessionShared,
    StoreError,
)
from harvester.events import Event
from harvester.runner.progress import Progress
from harvester.runner.worker_pool import WorkerPool
from harvester.store.account_store import AccountStore
from harvester.store.types import AccountHeld, BackfillOrder, RecordedState
from harvester.throttle import Throttle

FIRST_DATABASE_PAUSE_SECONDS = 1.0  # before the database is tried again; doubles with each failure
MAX_DATABASE_PAUSE_SECONDS = 30.0
STANDBY_SECONDS = 1.0  # between two attempts to claim an account that another process holds
BUG_PAUSE_SECONDS = 60.0  # after an unexpected error


class AccountWorker:
    """Keeps one account complete and fresh until it is stopped; `state` is its present state.

    Args:
        process: shared by all accounts.
        account: with a `start`.
        refreshed: called after each round that ended complete and without a failed slice.
    """

    def __init__(self, process: Process, account: Account, *, refreshed: Callable[[], None]) -> None:
        self.account = account
        self.state = AccountState(account)
        self._process = process
        self._refreshed = refreshed
        self._provisional = ProvisionalDays()
        self._wake = asyncio.Event()
        self._stopping = False
        self._pool: WorkerPool | None = None
        self._order_worker: OrderWorker | None = None
        self._store: AccountStore | None = None
        self._progress = Progress()  # of a recalled round
        self._throttle: Throttle | None = None  # of the newest session
        self._database_failures = 0  # in a row

    def tick(self) -> None:
        """Ask for all provisional days again."""
        self._provisional.clear()
        self.wake()

    def wake(self) -> None:
        """Begin a new round, after the requests in flight."""
        self._wake.set()
        if self._pool is not None:
            self._pool.recall()

    def stop(self) -> None:
        """Make `run` end after the requests in flight, for which it waits a few seconds."""
        self._stopping = True
        if self._pool is not None:
            self._pool.interrupt()
        if self._order_worker is not None:
            self._order_worker.interrupt()
        self._wake.set()

    async def run(self) -> None:
        """Work on the account until stopped.

        Raises:
            SchemaUnknown: the database belongs to a newer version or to another program.
            SessionShared: the database is behind a pooler that breaks its locks.
        """
        while not self._stopping:
            try:
                await self._claim_and_work()
            except StoreError as error:
                if isinstance(error, SchemaUnknown | SessionShared):
                    raise
                await self._wait_for_database(error)
            except HarvesterError as error:
                await self._wait_paused(error)
            except Exception as error:  # noqa: BLE001 - a bug in one account must not stop the others
                self.state.enter(Phase.PAUSED, f"a bug: {type(error).__name__}")
                self._emit(Event.BUG, error=error)
                await self._sleep_anew(BUG_PAUSE_SECONDS)
        self.state.enter(Phase.STOPPED)

    async def record_outage(self) -> None:
        """Record in the database that the API is unreachable, for `status`. Called every few seconds."""
        outage = self.state.outage
        if self._store is not None and outage is not None:
            with suppress(StoreError):  # `run` meets the same error and logs it
                await self._store.set_state(RecordedState.WAITING, outage)

    async def _claim_and_work(self) -> None:
        claimed = await self._process.database.claim(identity_of(self.account, self._process.settings))
        if isinstance(claimed, AccountHeld):
            if claimed.holder == holder_name():  # as ready as a standby, it would hide that no process works on it
                raise StoreError(
                    f"a lost session of this process still holds the account; the server ends it within"
                    f" {duration(IDLE_SESSION_SECONDS)}"
                )
            self._database_failures = 0
            if self.state.enter(Phase.STANDBY, f"held by {claimed.holder}"):
                self._emit(Event.STANDBY, holder=claimed.holder)
            await self._stand_by()
            return
        if not self._database_failures:  # else it may still fail: a full disk, too, allows a claim
            self._emit(Event.CLAIMED)
        self._store = claimed
        try:
            await self._run_session(claimed)
        finally:
            self._store = None
            await claimed.release()

    async def _run_session(self, store: AccountStore) -> None:
        """Run rounds until stopped, or until an error that needs a new session."""
        limit_trackers = limit_trackers_of(self.account, await store.range_limits())
        self._progress = Progress()
        try:
            async with Session(
                self._process, self.account, store, on_stored=self._on_stored, previous=self._throttle
            ) as session:
                self.state.throttle = self._throttle = session.throttle
                begin = partial(self._begin_order, store, session, limit_trackers)
                self._order_worker = order_worker = OrderWorker(store, begin, self.wake, self._process.pause)
                order_worker.open()
                try:
                    while not self._stopping:
                        order_worker.check()
                        await self._round(store, session, limit_trackers, order_worker)
                finally:
                    self._order_worker = None
                    await order_worker.close()
        except StoreError:
            raise
        except HarvesterError as error:
            await record_error(store, error)
            raise
        finally:
            self.state.throttle = None

    async def _round(
        self,
        store: AccountStore,
        session: Session,
        limit_trackers: Mapping[RangeKey, RangeLimitTracker],
        order_worker: OrderWorker,
    ) -> None:
        self._wake.clear()
        todo = await self._plan(store, limit_trackers, order_worker)
        report = RunReport(self.account.name)
        if todo.plan.slices:
            await self._run_plan(session, todo, report, limit_trackers)
        if self._stopping or self._wake.is_set():
            return
        if report.slices.done or report.slices.failed:  # cool-downs have begun, and the day may have changed
            todo = await self._plan(store, limit_trackers, order_worker)
            if todo.plan.slices:
                return
        self.state.enter(Phase.IDLE)
        self._log_database_back()
        await record_success(store, self.account, report, self._process.clock.time())
        if not report.slices.failed:
            self._refreshed()
        await self._sleep(todo.due_in)

    async def _run_plan(
        self,
        session: Session,
        todo: ReconcilePlan,
        report: RunReport,
        limit_trackers: Mapping[RangeKey, RangeLimitTracker],
    ) -> None:
        self.state.enter(Phase.WORKING)
        coordinator = session.coordinator(
            todo.plan, report, limit_trackers, priority=todo.priority, give_up_after=math.inf, progress=self._progress
        )
        self.state.coordinator = coordinator
        self._pool = session.pool(coordinator)
        try:
            with suppress(Interrupted):
                await self._pool.run()
        finally:
            self._pool = None
            coordinator.save_progress()
            self.state.add(report)
            if (
                report.slices.done or report.slices.failed
            ):  # else an error ended the round, and is logged where it is caught
                counts = {"slices": report.slices, "rows": report.rows, "requests": report.requests}
                self._emit(Event.ROUND, **counts, window=session.throttle.snapshot().resets_at)

    async def _begin_order(
        self,
        store: AccountStore,
        session: Session,
        limit_trackers: Mapping[RangeKey, RangeLimitTracker],
        order: BackfillOrder,
        report: RunReport,
    ) -> WorkerPool | None:
        """Return the worker pool of a backfill order; None where nothing is missing."""
        absent = await store.unconfirmed_absence()
        stored = stored_of(await store.coverage(order.series), await store.failed(order.series), absent)
        rules = replace(self._rules(), refetch=order.refetch)
        desires = [Desire(series, order.first, order.last) for series in order.series]
        known = limit_trackers_of(
            self.account, await store.range_limits(), {series.range_key for series in order.series}
        )
        known |= limit_trackers
        plan = plan_slices(desires, stored, rules, max_days_of(known, self._process.clock.time()))
        coordinator = session.coordinator(plan, report, known)
        return session.pool(coordinator) if plan.slices else None

    async def _plan(
        self, store: AccountStore, limit_trackers: Mapping[RangeKey, RangeLimitTracker], order_worker: OrderWorker
    ) -> ReconcilePlan:
        series = configured_series(self.account)
        coverage = await store.coverage(series)
        self.state.recall_success(coverage)
        todo = plan_reconcile(
            self.account,
            self._rules(),
            StoredSeries(
                coverage=coverage,
                failed=await store.failed(series),
                absent=await store.unconfirmed_absence(),
            ),
            limit_trackers,
            provisional=self._provisional,
            ordered=order_worker.days(),
            now=self._process.clock.time(),
        )
        self.state.newest_plan = todo
        return todo

    def _rules(self) -> Rules:
        calendar = self.account.calendar
        throttle = self.state.throttle
        ahead = throttle.server_ahead() if throttle is not None else 0.0
        today = calendar.local_date(self._process.clock.time() + ahead)  # the API's days count
        return Rules(calendar, today, self._process.settings.daemon.settle_days)

    def _on_stored(self, batches: Sequence[Batch]) -> None:
        rules, now = self._rules(), self._process.clock.time()
        self._log_database_back()
        for batch in batches:
            self._provisional.add(batch, rules)
            self.state.last_success[batch.slice.series.resource] = now

    async def _wait_paused(self, error: HarvesterError) -> None:
        """Wait for a quota window; where only a changed configuration or server can help, until woken by a tick."""
        if self.state.enter(Phase.PAUSED, str(error)):
            self._emit(Event.PAUSED, error=str(error))
        if isinstance(error, CalendarMismatch | ConfigError):
            await self._sleep_anew(None)
            return
        clock = self._process.clock
        until = clock.monotonic() + self.account.quota.window
        while not self._stopping and (left := until - clock.monotonic()) > 0:
            await self._sleep_anew(left)

    async def _wait_for_database(self, error: StoreError) -> None:
        if self.state.enter(Phase.NO_DATABASE, str(error)):
            self._emit(Event.NO_DATABASE, error=str(error))
        self._database_failures += 1
        await self._sleep_anew(
            backoff(FIRST_DATABASE_PAUSE_SECONDS, self._database_failures, MAX_DATABASE_PAUSE_SECONDS)
        )

    def _log_database_back(self) -> None:
        """Log that the database works again. Called after answers were committed: a full disk allows smaller writes."""
        if self._database_failures:
            self._database_failures = 0
            self._emit(Event.DATABASE_BACK)

    async def _stand_by(self) -> None:
        """Sleep until woken or until the next attempt to claim the account is due."""
        polling = asyncio.ensure_future(self._process.pause(STANDBY_SECONDS))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            self._wake.clear()
            if not self._stopping:
                await asyncio.wait((polling, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            polling.cancel()
            woken.cancel()

    async def _sleep_anew(self, seconds: float | None) -> None:
        """Sleep until woken or until `seconds` have passed; earlier wake-ups are ignored."""
        self._wake.clear()
        if not self._stopping:
            await self._sleep(seconds)

    async def _sleep(self, seconds: float | None) -> None:
        """Sleep until `seconds` have passed, or until woken; a wake-up since the round began counts."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _emit(self, event: Event, /, **facts: object) -> None:
        self._process.emit(event, account=self.account.name, **facts)
