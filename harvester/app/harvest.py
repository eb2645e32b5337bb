"""One account's harvest: claim it, see what is missing, drain that through its quota, give it back.

A database connection that drops takes the account's lock with it. Then nothing more is sent; the account is claimed
again and the difference computed anew, for as long as `PATIENCE` allows.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harvester.app.account import identity_of, plan_account, series_of, stored_of, tolerances_of
from harvester.app.orders import Handover
from harvester.app.session import Session
from harvester.app.wiring import build_transport
from harvester.core.model import RunReport
from harvester.errors import (
    Busy,
    CalendarMismatch,
    CredentialsRefused,
    HarvesterError,
    Interrupted,
    StoreError,
    StoreLost,
    Unreachable,
)
from harvester.store.records import AccountState, Held

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import date

    from harvester.app.account import Order
    from harvester.clock import Clock
    from harvester.config import Account, Settings
    from harvester.runner.drain import Drain
    from harvester.runner.judge import Judge
    from harvester.runner.ports import Observer
    from harvester.runner.room import Room
    from harvester.source.transport import Transport
    from harvester.store.account import AccountStore
    from harvester.store.database import Database
    from harvester.throttle import Throttle

PATIENCE = 30.0  # seconds in which a lost database may come back
ASK_AGAIN = 0.5  # seconds between two looks at a lock or a database


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What all accounts of this process share. The last four are the world outside, for a simulation to replace."""

    settings: Settings
    environ: Mapping[str, str]
    database: Database
    clock: Clock
    slots: asyncio.Semaphore  # requests in flight
    room: Room  # requests sent and not stored
    tell: Observer
    measure: Callable[[str, str, str, float], None] | None = None  # account, resource, outcome, seconds
    waiting: Callable[[str, float | None], None] | None = None  # account, monotonic moment
    transport: Callable[[Account], AbstractAsyncContextManager[Transport]] = build_transport
    jitter: Callable[[], float] = random.random
    run_blocking: Callable[[Callable[[], str]], Awaitable[str]] = asyncio.to_thread  # a password's command may be slow
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep  # between looks at what other processes leave us


class Harvest:
    """One account being harvested. Used once; `report` and the properties may be read meanwhile."""

    def __init__(self, process: Process, account: Account, order: Order) -> None:
        self.account = account
        self.report = RunReport(account.name)
        self.held_by: str | None = None  # who holds the account, while waited for
        self.throttle: Throttle | None = None
        self.judge: Judge | None = None
        self._process = process
        self._order = order
        self._drain: Drain | None = None
        self._interrupted = False
        self._lost_since: float | None = None
        self._told_holder: str | None = None

    def interrupt(self) -> None:
        """Take no more work; `run` raises Interrupted when what is in flight has ended."""
        self._interrupted = True
        if self._drain is not None:
            self._drain.interrupt()

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
        handover = Handover(self._process.database, self.account, self._order, self.report, self._today())
        try:
            while True:
                if self._interrupted:
                    raise Interrupted
                claimed = await self._process.database.claim(identity_of(self.account, self._process.settings))
                if not isinstance(claimed, Held):
                    self.held_by = None
                    return claimed
                self._note_holder(claimed.holder)
                if await handover.step():
                    return None
                self.held_by = None if handover.taken_up else claimed.holder
                await self._process.pause(ASK_AGAIN)
        finally:
            await handover.withdraw()

    def _note_holder(self, holder: str) -> None:
        if not self._order.wait:
            raise Busy(f"{self.account.name} is held by {holder}")
        if holder != self._told_holder:
            self._told_holder = holder
            self._tell("waiting_for_account", holder=holder)

    def _today(self) -> date:
        return self.account.calendar.local_date(self._process.clock.time())

    async def _bear_with(self, error: StoreError) -> None:
        """A database that was there a moment ago may come back; one that never was does not."""
        now = self._process.clock.monotonic()
        if self._lost_since is None:
            if not isinstance(error, StoreLost) or not self.report.requests:
                raise error
            self._lost_since = now
            self._tell("database_lost", error=str(error))
        if now - self._lost_since >= PATIENCE:
            raise error
        await self._process.clock.sleep(ASK_AGAIN)

    async def _work(self, store: AccountStore) -> None:
        process, account = self._process, self.account
        series = series_of(account)
        stored = stored_of(await store.coverage(series), await store.failed(series))
        tolerances = tolerances_of(account, await store.widths())
        settle_days = process.settings.daemon.settle_days
        plan = plan_account(account, self._order, stored, tolerances, settle_days, process.clock.time())
        self._lost_since = None
        if not plan.slices:  # neither a password nor a connection is needed for nothing
            self.report.slices.already_covered = plan.already_covered
            await store.set_state(AccountState.OK)
            return
        async with Session(process, account, store) as session:
            self.throttle = session.throttle
            self.judge = session.judge(plan, self.report, tolerances)
            self._drain = session.drain(self.judge)
            if self._interrupted:
                self._drain.interrupt()
            try:
                await self._drain.run()
            except HarvesterError as error:
                await note_trouble(store, error)
                raise
            finally:
                self._drain = None
        await note_success(store, account, self.report, process.clock.time())

    def _tell(self, event: str, /, **facts: object) -> None:
        self._process.tell(event, account=self.account.name, **facts)


async def note_success(store: AccountStore, account: Account, report: RunReport, now: float) -> None:
    """Leave in the database that all is well, and what the answers showed."""
    await store.set_state(AccountState.OK)
    if report.slices.done:
        calendar = account.calendar
        await store.set_answer(f"days begin in {account.timezone}, weeks on {calendar.week_start}, as configured", now)


async def note_trouble(store: AccountStore, error: HarvesterError) -> None:
    """Leave in the database why the account stopped, for `status`."""
    if isinstance(error, CredentialsRefused | CalendarMismatch):
        await store.set_state(AccountState.PAUSED, str(error))
    elif isinstance(error, Unreachable):
        await store.set_state(AccountState.WAITING, str(error))
