"""One account under the daemon: claimed, kept complete and fresh, and given back at the end.

A round computes what is missing, drains it, and sleeps until something wakes it: a tick of the refresh, a failed slice
that has rested, an order of a backfill beside the daemon, or the end. What wakes a round that is still draining
recalls it: what is in flight lands, and the difference is computed anew. So there is no queue to keep in step.

Trouble is waited out here, each kind in its own way: a database that is gone with growing pauses, refused credentials
for a quota window, wrong days until the next tick. Nobody else is stopped by it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from harvester.core.backoff import backoff
from harvester.core.model import Batch, RunReport
from harvester.core.planning import Desire, Rules, plan_slices
from harvester.daemon.account_state import AccountState, Phase
from harvester.daemon.orders import OrderWorker
from harvester.daemon.reconcile import ReconcilePlan, StoredSeries, Tail, plan_reconcile
from harvester.engine.account_plan import configured_series, identity_of, limit_trackers_of, stored_of
from harvester.engine.session import Session, record_error, record_success
from harvester.errors import CalendarMismatch, ConfigError, HarvesterError, Interrupted, SchemaUnknown, StoreError
from harvester.events import Event
from harvester.store.types import AccountHeld, BackfillOrder, RecordedState

if TYPE_CHECKING:
    from harvester.config import Account
    from harvester.core.refusal import RangeLimitTracker
    from harvester.engine.process import Process
    from harvester.runner.worker_pool import WorkerPool
    from harvester.store.account_store import AccountStore

FIRST_PAUSE = 1.0  # seconds until a database that is gone is tried again, doubling
LONGEST_PAUSE = 30.0
STANDBY = 1.0  # seconds between two looks at an account that somebody else holds
AFTER_A_BUG = 60.0


class AccountWorker:
    """Keeps one account until it is stopped. `fate` tells how it fares."""

    def __init__(self, process: Process, account: Account, *, refreshed: Callable[[], None]) -> None:
        """Keep `account`; `refreshed` is called after each round that left nothing undone."""
        self.account = account
        self.state = AccountState(account)
        self._process = process
        self._refreshed = refreshed
        self._tail = Tail()
        self._wake = asyncio.Event()
        self._stopping = False
        self._pool: WorkerPool | None = None
        self._order_worker: OrderWorker | None = None
        self._store: AccountStore | None = None
        self._database_failures = 0  # in a row

    def tick(self) -> None:
        """The unsettled tail is wanted again."""
        self._tail.tick()
        self.wake()

    def wake(self) -> None:
        """Compute the difference anew."""
        self._wake.set()
        if self._pool is not None:
            self._pool.recall()

    def stop(self) -> None:
        """Let what is in flight land, as far as it comes soon, give the account back, and end."""
        self._stopping = True
        if self._pool is not None:
            self._pool.interrupt()
        if self._order_worker is not None:
            self._order_worker.hurry()
        self._wake.set()

    async def run(self) -> None:
        """Keep the account until stopped.

        Raises:
            SchemaUnknown: the database is a newer program's, or another one's.
        """
        while not self._stopping:
            try:
                await self._claim_and_hold()
            except StoreError as error:
                if isinstance(error, SchemaUnknown):
                    raise
                await self._without_database(error)
            except HarvesterError as error:
                await self._paused(error)
            except Exception as error:  # noqa: BLE001 - a bug in one account must not stop the others
                self.state.enter(Phase.PAUSED, f"a bug: {type(error).__name__}")
                self._emit(Event.BUG, error=error)
                await self._doze(AFTER_A_BUG)
        self.state.enter(Phase.STOPPED)

    async def note_outage(self) -> None:
        """Leave in the database that nobody answers, for `status`. Called now and then."""
        outage = self.state.outage
        if self._store is not None and outage is not None:
            with suppress(StoreError):  # the keeper will meet it, and say so
                await self._store.set_state(RecordedState.WAITING, outage)

    async def _claim_and_hold(self) -> None:
        claimed = await self._process.database.claim(identity_of(self.account, self._process.settings))
        if isinstance(claimed, AccountHeld):
            self._database_failures = 0
            if self.state.enter(Phase.STANDBY, f"held by {claimed.holder}"):
                self._emit(Event.STANDBY, holder=claimed.holder)
            await self._stand_by()
            return
        if not self._database_failures:  # else the trouble may go on: on a full disk, too, an account can be claimed
            self._emit(Event.CLAIMED)
        self._store = claimed
        try:
            await self._hold(claimed)
        finally:
            self._store = None
            await claimed.release()

    async def _hold(self, store: AccountStore) -> None:
        """Rounds until stopped, or until trouble that needs a new session."""
        limit_trackers = limit_trackers_of(self.account, await store.range_limits())
        try:
            async with Session(self._process, self.account, store, on_stored=self._stored) as session:
                self.state.throttle = session.throttle
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
        limit_trackers: Mapping[str, RangeLimitTracker],
        order_worker: OrderWorker,
    ) -> None:
        self._wake.clear()
        todo = await self._plan(store, limit_trackers, order_worker)
        report = RunReport(self.account.name)
        if todo.plan.slices:
            await self._work(session, todo, report, limit_trackers)
        if self._stopping or self._wake.is_set():
            return
        if report.slices.done or report.slices.failed:  # what failed rests now, and days may have gone by
            todo = await self._plan(store, limit_trackers, order_worker)
            if todo.plan.slices:
                return
        self.state.enter(Phase.IDLE)
        self._trust_database()
        await record_success(store, self.account, report, self._process.clock.time())
        if not report.slices.failed:
            self._refreshed()
        await self._rest(todo.due_in)

    async def _work(
        self, session: Session, todo: ReconcilePlan, report: RunReport, limit_trackers: Mapping[str, RangeLimitTracker]
    ) -> None:
        self.state.enter(Phase.WORKING)
        coordinator = session.coordinator(
            todo.plan, report, limit_trackers, priority=todo.priority, give_up_after=math.inf
        )
        self.state.coordinator = coordinator
        self._pool = session.pool(coordinator)
        try:
            with suppress(Interrupted):
                await self._pool.run()
        finally:
            self._pool = None
            self.state.ended(report)
            if report.slices.done or report.slices.failed:  # whatever ended it without any is told where it is caught
                counts = {"slices": report.slices, "rows": report.rows, "requests": report.requests}
                self._emit(Event.ROUND, **counts, window=session.throttle.snapshot().resets_at)

    async def _begin_order(
        self,
        store: AccountStore,
        session: Session,
        limit_trackers: Mapping[str, RangeLimitTracker],
        order: BackfillOrder,
        report: RunReport,
    ) -> WorkerPool | None:
        """What a backfill beside us wants; None where nothing of it is missing."""
        stored = stored_of(await store.coverage(order.series), await store.failed(order.series))
        rules = replace(self._rules(), refetch=order.refetch)
        desires = [Desire(series, order.first, order.last) for series in order.series]
        known = limit_trackers_of(
            self.account, await store.range_limits(), {series.resource for series in order.series}
        )
        known |= limit_trackers
        now = self._process.clock.time()
        widths = {resource: limit_tracker.allowed(now) for resource, limit_tracker in known.items()}
        plan = plan_slices(desires, stored, rules, widths)
        coordinator = session.coordinator(plan, report, known)
        return session.pool(coordinator) if plan.slices else None

    async def _plan(
        self, store: AccountStore, limit_trackers: Mapping[str, RangeLimitTracker], order_worker: OrderWorker
    ) -> ReconcilePlan:
        series = configured_series(self.account)
        kept = StoredSeries(coverage=await store.coverage(series), failed=await store.failed(series))
        now = self._process.clock.time()
        todo = plan_reconcile(
            self.account, self._rules(), kept, limit_trackers, tail=self._tail, others=order_worker.days(), now=now
        )
        self.state.planned(todo)
        return todo

    def _rules(self) -> Rules:
        calendar = self.account.calendar
        today = calendar.local_date(self._process.clock.time())
        return Rules(calendar, today, self._process.settings.daemon.settle_days)

    def _stored(self, batches: Sequence[Batch]) -> None:
        rules, now = self._rules(), self._process.clock.time()
        self._trust_database()
        for batch in batches:
            self._tail.stored(batch, rules)
            self.state.last_success[batch.slice.series.resource] = now

    async def _paused(self, error: HarvesterError) -> None:
        """Wait for a quota window, or, where only a change can help, until told; a tick is such a chance."""
        if self.state.enter(Phase.PAUSED, str(error)):
            self._emit(Event.PAUSED, error=str(error))
        if isinstance(error, CalendarMismatch | ConfigError):
            await self._doze(None)
            return
        clock = self._process.clock
        until = clock.monotonic() + self.account.quota.window
        while not self._stopping and (left := until - clock.monotonic()) > 0:
            await self._doze(left)

    async def _without_database(self, error: StoreError) -> None:
        if self.state.enter(Phase.NO_DATABASE, str(error)):
            self._emit(Event.NO_DATABASE, error=str(error))
        self._database_failures += 1
        await self._doze(backoff(FIRST_PAUSE, self._database_failures, LONGEST_PAUSE))

    def _trust_database(self) -> None:
        """It has taken all that it was given: only then is a trouble over, for a full one still takes little things."""
        if self._database_failures:
            self._database_failures = 0
            self._emit(Event.DATABASE_BACK)

    async def _stand_by(self) -> None:
        looking = asyncio.ensure_future(self._process.pause(STANDBY))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            self._wake.clear()
            if not self._stopping:
                await asyncio.wait((looking, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            looking.cancel()
            woken.cancel()

    async def _doze(self, seconds: float | None) -> None:
        """Until woken from now on, or for so long."""
        self._wake.clear()
        if not self._stopping:
            await self._rest(seconds)

    async def _rest(self, seconds: float | None) -> None:
        """Until woken since the round began, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _emit(self, event: Event, /, **facts: object) -> None:
        self._process.emit(event, account=self.account.name, **facts)
