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
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from harvester.app.account import identity_of, series_of, stored_of, tolerances_of
from harvester.app.fate import Fate, Phase
from harvester.app.harvest import note_success, note_trouble
from harvester.app.orders import Desk
from harvester.app.round import Kept, Tail, plan_round
from harvester.app.session import Session
from harvester.core.model import RunReport
from harvester.core.planning import Desire, Rules, plan_slices
from harvester.errors import CalendarMismatch, ConfigError, HarvesterError, Interrupted, SchemaUnknown, StoreError
from harvester.store.records import AccountState, Held

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harvester.app.harvest import Process
    from harvester.app.round import Round
    from harvester.config import Account
    from harvester.core.model import Batch
    from harvester.core.refusal import Tolerance
    from harvester.runner.drain import Drain
    from harvester.store.account import AccountStore
    from harvester.store.records import BackfillOrder

FIRST_PAUSE = 1.0  # seconds until a database that is gone is tried again, doubling
LONGEST_PAUSE = 30.0
STANDBY = 1.0  # seconds between two looks at an account that somebody else holds
AFTER_A_BUG = 60.0


class Keeper:
    """Keeps one account until it is stopped. `fate` tells how it fares."""

    def __init__(self, process: Process, account: Account, *, refreshed: Callable[[], None]) -> None:
        """Keep `account`; `refreshed` is called after each round that left nothing undone."""
        self.account = account
        self.fate = Fate(account)
        self._process = process
        self._refreshed = refreshed
        self._tail = Tail()
        self._wake = asyncio.Event()
        self._stopping = False
        self._drain: Drain | None = None
        self._desk: Desk | None = None
        self._store: AccountStore | None = None
        self._pause = FIRST_PAUSE

    def tick(self) -> None:
        """The unsettled tail is wanted again."""
        self._tail.tick()
        self.wake()

    def wake(self) -> None:
        """Compute the difference anew."""
        self._wake.set()
        if self._drain is not None:
            self._drain.recall()

    def stop(self) -> None:
        """Let what is in flight land, as far as it comes soon, give the account back, and end."""
        self._stopping = True
        if self._drain is not None:
            self._drain.interrupt()
        if self._desk is not None:
            self._desk.hurry()
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
                self.fate.enter(Phase.PAUSED, f"a bug: {type(error).__name__}")
                self._tell("bug", error=error)
                await self._doze(AFTER_A_BUG)
        self.fate.enter(Phase.STOPPED)

    async def note_outage(self) -> None:
        """Leave in the database that nobody answers, for `status`. Called now and then."""
        outage = self.fate.outage
        if self._store is not None and outage is not None:
            with suppress(StoreError):  # the keeper will meet it, and say so
                await self._store.set_state(AccountState.WAITING, outage)

    async def _claim_and_hold(self) -> None:
        claimed = await self._process.database.claim(identity_of(self.account, self._process.settings))
        if isinstance(claimed, Held):
            self._pause = FIRST_PAUSE
            if self.fate.enter(Phase.STANDBY, f"held by {claimed.holder}"):
                self._tell("standby", holder=claimed.holder)
            await self._stand_by()
            return
        if self._pause == FIRST_PAUSE:  # else the trouble may go on: on a full disk, too, an account can be claimed
            self._tell("claimed")
        self._store = claimed
        try:
            await self._hold(claimed)
        finally:
            self._store = None
            await claimed.release()

    async def _hold(self, store: AccountStore) -> None:
        """Rounds until stopped, or until trouble that needs a new session."""
        tolerances = tolerances_of(self.account, await store.widths())
        try:
            async with Session(self._process, self.account, store, stored=self._stored) as session:
                self.fate.throttle = session.throttle
                begin = partial(self._begin_order, store, session, tolerances)
                self._desk = desk = Desk(store, begin, self.wake, self._process.pause)
                desk.open()
                try:
                    while not self._stopping:
                        desk.check()
                        await self._round(store, session, tolerances, desk)
                finally:
                    self._desk = None
                    await desk.close()
        except StoreError:
            raise
        except HarvesterError as error:
            await note_trouble(store, error)
            raise
        finally:
            self.fate.throttle = None

    async def _round(
        self, store: AccountStore, session: Session, tolerances: Mapping[str, Tolerance], desk: Desk
    ) -> None:
        self._wake.clear()
        todo = await self._plan(store, tolerances, desk)
        report = RunReport(self.account.name)
        if todo.plan.slices:
            await self._work(session, todo, report, tolerances)
        if self._stopping or self._wake.is_set():
            return
        if report.slices.done or report.slices.failed:  # what failed rests now, and days may have gone by
            todo = await self._plan(store, tolerances, desk)
            if todo.plan.slices:
                return
        self.fate.enter(Phase.IDLE)
        self._trust_database()
        await note_success(store, self.account, report, self._process.clock.time())
        if not report.slices.failed:
            self._refreshed()
        await self._rest(todo.due_in)

    async def _work(
        self, session: Session, todo: Round, report: RunReport, tolerances: Mapping[str, Tolerance]
    ) -> None:
        self.fate.enter(Phase.WORKING)
        judge = session.judge(todo.plan, report, tolerances, rank=todo.rank, patience=math.inf)
        self.fate.judge = judge
        self._drain = session.drain(judge)
        try:
            with suppress(Interrupted):
                await self._drain.run()
        finally:
            self._drain = None
            self.fate.ended(report)
            if report.slices.done or report.slices.failed:  # whatever ended it without any is told where it is caught
                counts = {"slices": report.slices, "rows": report.rows, "requests": report.requests}
                self._tell("round", **counts, window=session.throttle.snapshot().resets_at)

    async def _begin_order(
        self,
        store: AccountStore,
        session: Session,
        tolerances: Mapping[str, Tolerance],
        order: BackfillOrder,
        report: RunReport,
    ) -> Drain | None:
        """What a backfill beside us wants; None where nothing of it is missing."""
        stored = stored_of(await store.coverage(order.series), await store.failed(order.series))
        rules = replace(self._rules(), refetch=order.refetch)
        desires = [Desire(series, order.first, order.last) for series in order.series]
        known = tolerances_of(self.account, await store.widths(), {series.resource for series in order.series})
        known |= tolerances
        now = self._process.clock.time()
        widths = {resource: tolerance.allowed(now) for resource, tolerance in known.items()}
        plan = plan_slices(desires, stored, rules, widths)
        judge = session.judge(plan, report, known)
        return session.drain(judge) if plan.slices else None

    async def _plan(self, store: AccountStore, tolerances: Mapping[str, Tolerance], desk: Desk) -> Round:
        series = series_of(self.account)
        kept = Kept(coverage=await store.coverage(series), failed=await store.failed(series))
        now = self._process.clock.time()
        todo = plan_round(self.account, self._rules(), kept, tolerances, tail=self._tail, others=desk.days(), now=now)
        self.fate.planned(todo)
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
            self.fate.last_success[batch.slice.series.resource] = now

    async def _paused(self, error: HarvesterError) -> None:
        """Wait for a quota window, or, where only a change can help, until told; a tick is such a chance."""
        if self.fate.enter(Phase.PAUSED, str(error)):
            self._tell("paused", error=str(error))
        if isinstance(error, CalendarMismatch | ConfigError):
            await self._doze(None)
            return
        clock = self._process.clock
        until = clock.monotonic() + self.account.quota.window
        while not self._stopping and (left := until - clock.monotonic()) > 0:
            await self._doze(left)

    async def _without_database(self, error: StoreError) -> None:
        if self.fate.enter(Phase.NO_DATABASE, str(error)):
            self._tell("no_database", error=str(error))
        pause, self._pause = self._pause, min(LONGEST_PAUSE, 2 * self._pause)
        await self._doze(pause)

    def _trust_database(self) -> None:
        """It has taken all that it was given: only then is a trouble over, for a full one still takes little things."""
        if self._pause != FIRST_PAUSE:
            self._pause = FIRST_PAUSE
            self._tell("database_back")

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

    def _tell(self, event: str, /, **facts: object) -> None:
        self._process.tell(event, account=self.account.name, **facts)
