"""Session of a claimed account: its throttle and its connection to the API, open while the account is held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

from harvester.config import Account
from harvester.core.breaker import GIVE_UP_AFTER
from harvester.core.model import Batch, FailedSlice, RangeKey, RangeLimits, RowCounts, RunReport, Slice
from harvester.core.planning import Plan
from harvester.core.priority import Priority
from harvester.core.range_limits import RangeLimitTracker
from harvester.engine.process import Process
from harvester.engine.wiring import build_source, build_throttle
from harvester.errors import (
    CalendarMismatch,
    CredentialsRefused,
    HarvesterError,
    RequestsRefused,
    StoreLost,
    Unreachable,
)
from harvester.events import Event
from harvester.runner.coordinator import AccountContext, Coordinator
from harvester.runner.progress import Progress
from harvester.runner.worker_pool import Ports, WorkerPool
from harvester.source.instrumented import InstrumentedTransport
from harvester.store.account_store import AccountStore
from harvester.store.types import RecordedState
from harvester.throttle import Throttle

if TYPE_CHECKING:
    from harvester.source.transport import Transport


class Session:
    """Session of one claimed account. Entered once; then it runs plans, several at a time if needed."""

    def __init__(
        self,
        process: Process,
        account: Account,
        store: AccountStore,
        *,
        on_stored: Callable[[Sequence[Batch]], None] | None = None,
        previous: Throttle | None = None,
    ) -> None:
        """Work on `store`.

        Args:
            process: shared by all accounts.
            account: the claimed one.
            store: of this account.
            on_stored: called with the answers of each transaction after its commit.
            previous: the throttle of this process's session before, which is closed.
        """
        waiting = process.waiting
        self.throttle: Throttle = build_throttle(
            account,
            clock=process.clock,
            ledger=store,
            slots=process.slots,
            on_wait=None if waiting is None else lambda until: waiting(account.name, until),
            on_skew=lambda ahead: self._emit(Event.CLOCK_SKEWED, host_ahead_seconds=-round(ahead)),
        )
        self._previous = previous
        self._process = process
        self._account = account
        self._store = store
        store.on_refused_metrics = lambda names: self._emit(Event.METRICS_REFUSED, metrics=len(names), one=names[0])
        self._runner_store = store if on_stored is None else _NotifyingStore(store, on_stored)
        self._stack = AsyncExitStack()
        self._ports: Ports | None = None

    async def __aenter__(self) -> Self:
        process, account, store = self._process, self._account, self._store
        async with AsyncExitStack() as stack:
            await self.throttle.open(self._previous)
            stack.push_async_callback(self._close_throttle)
            transport = self._instrument(await stack.enter_async_context(process.transport(account)))
            source = build_source(
                account,
                transport=transport,
                clock=process.clock,
                store=store,
                password=lambda: process.password(account.name),
                run_blocking=process.run_blocking,
                on_auth_wait=lambda seconds: self._emit(Event.WAITING_FOR_AUTH, seconds=round(seconds)),
            )
            self._ports = Ports(
                source=source,
                gate=self.throttle,
                store=self._runner_store,
                clock=process.clock,
                workers=process.settings.api.concurrency,
                capacity=process.capacity,
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._ports = None
        await self._stack.aclose()

    def coordinator(
        self,
        plan: Plan,
        report: RunReport,
        limit_trackers: Mapping[RangeKey, RangeLimitTracker],
        *,
        priority: Callable[[Slice], Priority] | None = None,
        give_up_after: float = GIVE_UP_AFTER,
        progress: Progress | None = None,
    ) -> Coordinator:
        """Return a coordinator for the plan; it fills `report` and continues from `progress`."""
        clock = self._process.clock
        context = AccountContext(
            calendar=self._account.calendar,
            now=clock.monotonic,
            epoch_now=lambda: clock.time() + self.throttle.server_ahead(),
            jitter=self._process.jitter,
            limit_trackers=limit_trackers,
            emit=self._emit,
            priority=priority or (lambda _: Priority.PAST),
            give_up_after=give_up_after,
        )
        return Coordinator(plan, context, report, progress or Progress())

    def pool(self, coordinator: Coordinator) -> WorkerPool:
        """Return a pool of workers, ready to run the coordinator's plan."""
        if self._ports is None:
            raise RuntimeError("the session is not open")
        return WorkerPool(self._ports, coordinator)

    def _instrument(self, transport: Transport) -> Transport:
        name, measure = self._account.name, self._process.measure
        if measure is None:
            return transport
        return InstrumentedTransport(
            transport,
            base_url=self._account.api.base_url,
            observe=lambda resource, outcome, seconds: measure(name, resource, outcome, seconds),
            now=self._process.clock.monotonic,
        )

    async def _close_throttle(self) -> None:
        """Return the unspent allowance. If the database is lost, it counts as spent until the window ends."""
        with suppress(StoreLost):
            await self.throttle.close()

    def _emit(self, event: Event, /, **facts: object) -> None:
        self._process.emit(event, account=self._account.name, **facts)


class _NotifyingStore:
    """A store (runner.ports.Store) that calls `on_stored` after each commit."""

    def __init__(self, store: AccountStore, on_stored: Callable[[Sequence[Batch]], None]) -> None:
        self._store = store
        self._on_stored = on_stored

    async def commit(self, batches: Sequence[Batch], failures: Sequence[FailedSlice]) -> RowCounts:
        counts = await self._store.commit(batches, failures)
        self._on_stored(batches)
        return counts

    async def answered(self) -> Sequence[Slice]:
        return await self._store.answered()

    async def save_range_limits(self, key: RangeKey, limits: RangeLimits) -> None:
        await self._store.save_range_limits(key, limits)


async def record_success(store: AccountStore, account: Account, report: RunReport, now: float) -> None:
    """Store for `status` that the account works and what its answers confirmed (`now`: epoch seconds)."""
    await store.set_state(RecordedState.OK)
    if report.slices.done:
        calendar = account.calendar
        await store.set_answer(f"days begin in {account.timezone}, weeks on {calendar.week_start}, as configured", now)


async def record_error(store: AccountStore, error: HarvesterError) -> None:
    """Store for `status` why the account stopped."""
    if isinstance(error, CredentialsRefused | CalendarMismatch | RequestsRefused):
        await store.set_state(RecordedState.PAUSED, str(error))
    elif isinstance(error, Unreachable):
        await store.set_state(RecordedState.WAITING, str(error))
