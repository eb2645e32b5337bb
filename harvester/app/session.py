"""A claimed account at work: its gate and its way to the API, open for as long as the account is held."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

from harvester import config
from harvester.app.wiring import build_source, build_throttle
from harvester.core.agenda import Rank
from harvester.core.breaker import PATIENCE
from harvester.errors import StoreLost
from harvester.runner.drain import Drain, World
from harvester.runner.judge import Judge, Terms
from harvester.source.measured import MeasuredTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harvester.app.harvest import Process
    from harvester.config import Account
    from harvester.core.model import Batch, FailedSlice, RowCounts, RunReport, Slice, Widths
    from harvester.core.planning import Plan
    from harvester.core.refusal import Tolerance
    from harvester.source.transport import Transport
    from harvester.store.account import AccountStore
    from harvester.throttle import Throttle


class Session:
    """Entered once; then plans can be drained through it, also several side by side."""

    def __init__(
        self,
        process: Process,
        account: Account,
        store: AccountStore,
        *,
        stored: Callable[[Sequence[Batch]], None] | None = None,
    ) -> None:
        """Work on `store`; `stored` is told of the answers in each transaction after it."""
        waiting = process.waiting
        self.throttle: Throttle = build_throttle(
            account,
            clock=process.clock,
            ledger=store,
            slots=process.slots,
            on_wait=None if waiting is None else lambda until: waiting(account.name, until),
        )
        self._process = process
        self._account = account
        self._store = store
        self._committing = store if stored is None else _Telling(store, stored)
        self._stack = AsyncExitStack()
        self._world: World | None = None

    async def __aenter__(self) -> Self:
        process, account, store = self._process, self._account, self._store
        async with AsyncExitStack() as stack:
            await self.throttle.open()
            stack.push_async_callback(self._give_back)
            transport = self._measured(await stack.enter_async_context(process.transport(account)))
            source = build_source(
                account,
                transport=transport,
                clock=process.clock,
                store=store,
                password=lambda: config.password(account.name, process.settings, process.environ),
                run_blocking=process.run_blocking,
                on_auth_wait=lambda seconds: self._tell("waiting_for_auth", seconds=round(seconds)),
            )
            self._world = World(
                source=source,
                gate=self.throttle,
                store=self._committing,
                clock=process.clock,
                workers=process.settings.api.concurrency,
                room=process.room,
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._world = None
        await self._stack.aclose()

    def judge(
        self,
        plan: Plan,
        report: RunReport,
        tolerances: Mapping[str, Tolerance],
        *,
        rank: Callable[[Slice], Rank] | None = None,
        patience: float = PATIENCE,
    ) -> Judge:
        """Who will decide about a plan's slices."""
        clock = self._process.clock
        terms = Terms(
            calendar=self._account.calendar,
            now=clock.monotonic,
            today_is=clock.time,
            jitter=self._process.jitter,
            tolerances=tolerances,
            renewable=self._account.tool is not None,
            tell=self._tell,
            rank=rank or (lambda _: Rank.PAST),
            patience=patience,
        )
        return Judge(plan, terms, report)

    def drain(self, judge: Judge) -> Drain:
        """A plan ready to be worked off."""
        if self._world is None:
            raise RuntimeError("the session is not open")
        return Drain(self._world, judge)

    def _measured(self, transport: Transport) -> Transport:
        name, measure = self._account.name, self._process.measure
        if measure is None:
            return transport
        return MeasuredTransport(
            transport,
            base_url=self._account.api.base_url,
            observe=lambda resource, outcome, seconds: measure(name, resource, outcome, seconds),
            now=self._process.clock.monotonic,
        )

    async def _give_back(self) -> None:
        """The unspent allowance; a database that is gone keeps it until the window ends."""
        with suppress(StoreLost):
            await self.throttle.close()

    def _tell(self, event: str, /, **facts: object) -> None:
        self._process.tell(event, account=self._account.name, **facts)


class _Telling:
    """A store (runner.ports.Store) that tells what it stored."""

    def __init__(self, store: AccountStore, stored: Callable[[Sequence[Batch]], None]) -> None:
        self._store = store
        self._stored = stored

    async def commit(self, batches: Sequence[Batch], failures: Sequence[FailedSlice]) -> RowCounts:
        counts = await self._store.commit(batches, failures)
        self._stored(batches)
        return counts

    async def save_widths(self, resource: str, widths: Widths) -> None:
        await self._store.save_widths(resource, widths)
