"""One account's harvest: claim it, see what is missing, drain that through its quota, give it back.

A database connection that drops takes the account's lock with it. Then nothing more is sent; the account is claimed
again and the difference computed anew, for as long as `PATIENCE` allows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harvester import config
from harvester.app.wiring import build_source, build_throttle, build_transport
from harvester.core.coverage import Span
from harvester.core.model import RunReport, Series, Widths
from harvester.core.planning import Desire, Rules, Stored, plan_slices
from harvester.core.refusal import Tolerance
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
from harvester.runner.drain import Drain, World
from harvester.runner.judge import Judge, Terms
from harvester.store.records import AccountIdentity, AccountState, Held

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date

    from harvester.clock import Clock
    from harvester.config import Account, Settings
    from harvester.core.planning import Plan
    from harvester.runner.ports import Observer
    from harvester.source.http import HttpSource
    from harvester.source.transport import Transport
    from harvester.store.account import AccountStore
    from harvester.store.database import Database
    from harvester.throttle import Throttle

PATIENCE = 30.0  # seconds in which a lost database may come back
ASK_AGAIN = 1.0  # seconds between two looks at a lock or a database

Range = tuple["date", "date"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What all accounts of this process share."""

    settings: Settings
    environ: Mapping[str, str]
    database: Database
    clock: Clock
    slots: asyncio.Semaphore  # requests in flight
    room: asyncio.Semaphore  # requests sent and not stored
    tell: Observer


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted of an account."""

    days: Callable[[date], Range]  # given the account's today: first and last day
    refetch: bool = False
    wait: bool = True  # for whoever holds the account


def series_of(account: Account) -> list[Series]:
    """Every series that an account is configured to have."""
    return [
        Series(account.name, resource, phone.number, period)
        for resource in account.resources
        for period in account.periods
        for phone in account.phones
    ]


def identity_of(account: Account, settings: Settings) -> AccountIdentity:
    """The account as the store knows it."""
    return AccountIdentity(
        name=account.name,
        base_url=account.api.base_url,
        timezone=account.timezone,
        week_start=account.week_start,
        settle_days=settings.daemon.settle_days,
        start=account.start,
        phones=[(phone.number, phone.name) for phone in account.phones],
    )


def stored_spans(failed: Iterable[tuple[Series, date, date]]) -> dict[Series, list[Span]]:
    """Failed slices by series, as planning wants them."""
    spans: dict[Series, list[Span]] = {}
    for series, first, last in failed:
        spans.setdefault(series, []).append(Span(first, last))
    return spans


def tolerances_of(account: Account, widths: Mapping[str, Widths]) -> dict[str, Tolerance]:
    """What is known of the widths that the server takes, by resource."""
    most = account.api.max_days_per_request
    return {resource: Tolerance(widths.get(resource, Widths()), most) for resource in account.resources}


def plan_account(
    account: Account, order: Order, stored: Stored, tolerances: Mapping[str, Tolerance], settle_days: int, now: float
) -> Plan:
    """What there is to ask for (`now`: epoch seconds)."""
    today = account.calendar.local_date(now)
    first, last = order.days(today)
    rules = Rules(account.calendar, today, settle_days, refetch=order.refetch)
    widths = {resource: tolerance.allowed(now) for resource, tolerance in tolerances.items()}
    return plan_slices([Desire(series, first, last) for series in series_of(account)], stored, rules, widths)


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
            try:
                await self._work(store)
            except StoreLost as error:
                await self._bear_with(error)
            else:
                return
            finally:
                await store.release()

    async def _claim(self) -> AccountStore:
        process = self._process
        identity = identity_of(self.account, process.settings)
        while True:
            if self._interrupted:
                raise Interrupted
            claimed = await process.database.claim(identity)
            if not isinstance(claimed, Held):
                self.held_by = None
                return claimed
            if not self._order.wait:
                raise Busy(f"{self.account.name} is held by {claimed.holder}")
            if self.held_by != claimed.holder:
                self.held_by = claimed.holder
                process.tell("waiting_for_account", account=self.account.name, holder=claimed.holder)
            await process.clock.sleep(ASK_AGAIN)

    async def _bear_with(self, error: StoreError) -> None:
        """A database that was there a moment ago may come back; one that never was does not."""
        now = self._process.clock.monotonic()
        if self._lost_since is None:
            if not isinstance(error, StoreLost) or not self.report.requests:
                raise error
            self._lost_since = now
            self._process.tell("database_lost", account=self.account.name, error=str(error))
        if now - self._lost_since >= PATIENCE:
            raise error
        await self._process.clock.sleep(ASK_AGAIN)

    async def _work(self, store: AccountStore) -> None:
        process, account = self._process, self.account
        series = series_of(account)
        failed = [(one.series, one.first, one.last) for one in await store.failed(series)]
        stored = Stored(await store.coverage(series), stored_spans(failed))
        tolerances = tolerances_of(account, await store.widths())
        settle_days = process.settings.daemon.settle_days
        plan = plan_account(account, self._order, stored, tolerances, settle_days, process.clock.time())
        self._lost_since = None
        self.judge = Judge(plan, self._terms(tolerances), self.report)
        try:
            if plan.slices:
                await self._drain_plan(store, self.judge)
        except HarvesterError as error:
            await self._note(store, error)
            raise
        await store.set_state(AccountState.OK)

    async def _drain_plan(self, store: AccountStore, judge: Judge) -> None:
        process, account = self._process, self.account
        self.throttle = build_throttle(account, clock=process.clock, ledger=store, slots=process.slots)
        await self.throttle.open()
        async with build_transport(account) as transport:
            world = World(
                source=self._source(transport, store),
                gate=self.throttle,
                store=store,
                clock=process.clock,
                workers=process.settings.api.concurrency,
                room=process.room,
            )
            self._drain = Drain(world, judge)
            if self._interrupted:
                self._drain.interrupt()
            try:
                await self._drain.run()
            finally:
                self._drain = None
        await self.throttle.close()

    def _terms(self, tolerances: Mapping[str, Tolerance]) -> Terms:
        clock = self._process.clock
        return Terms(
            calendar=self.account.calendar,
            now=clock.monotonic,
            today_is=clock.time,
            jitter=random.random,
            tolerances=tolerances,
            renewable=self.account.tool is not None,
            tell=self._tell,
        )

    def _tell(self, event: str, /, **facts: object) -> None:
        self._process.tell(event, account=self.account.name, **facts)

    def _source(self, transport: Transport, store: AccountStore) -> HttpSource:
        account, process = self.account, self._process
        return build_source(
            account,
            transport=transport,
            clock=process.clock,
            store=store,
            password=lambda: config.password(account.name, process.settings, process.environ),
            on_auth_wait=lambda seconds: self._tell("waiting_for_auth", seconds=round(seconds)),
        )

    async def _note(self, store: AccountStore, error: HarvesterError) -> None:
        """Leave the reason in the database, for `status`."""
        if isinstance(error, StoreError):
            return
        if self.throttle is not None:
            await self.throttle.close()
        if isinstance(error, CredentialsRefused | CalendarMismatch):
            await store.set_state(AccountState.PAUSED, str(error))
        elif isinstance(error, Unreachable):
            await store.set_state(AccountState.WAITING, str(error))
