"""Rig that runs one account's backfill in virtual time, with new parts for each process.

Runner, throttle, quota, source, credentials and store are the real ones. The server is the simulated API, the clock is
virtual, and SQL runs inline. Everything follows from the settings and one seed. What outlives a process (the database
file, the server's counts, requests under way, the true time) belongs to the Rig, so that `run` may be called again
after a process ended or died.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random

from harvester.core.model import Batch, FailedSlice, RangeKey, RangeLimits, RowCounts, RunReport, Series, Slice
from harvester.core.period import Calendar, Period
from harvester.core.planning import Desire, Plan, Rules, plan_slices
from harvester.core.quota import Quota
from harvester.core.range_limits import RangeLimitTracker
from harvester.engine.account_plan import stored_of
from harvester.engine.wiring import StoredAuthLedger
from harvester.errors import HarvesterError
from harvester.events import Event
from harvester.runner.capacity_limiter import CapacityLimiter
from harvester.runner.coordinator import AccountContext, Coordinator
from harvester.runner.worker_pool import Ports, WorkerPool
from harvester.simulator.api import SimulatedApi, Visit
from harvester.simulator.options import AUTH, Account, Options
from harvester.source.credentials import DirectCredentials
from harvester.source.http import HttpSource
from harvester.source.tool_credentials import AuthLimit, ToolCredentials
from harvester.store.account_store import AccountStore
from harvester.store.claims import Database
from harvester.store.types import AccountIdentity
from harvester.throttle import Throttle
from tests.support.databases import create_migrated, query
from tests.support.in_process import Disk, InProcessTransport, Killed, Loop, Wire
from tests.support.virtual import VirtualClock
from tests.support.yielding_gate import YieldingGate

START = 1_725_000_600.0  # true epoch second of the first process, 2024-08-30 in New York: 300 s into a window of 900
SETTLE_DAYS = 3
URL = "https://api.example/api"
TOO_LONG = 10 * 86_400.0  # virtual seconds that no run takes


@dataclass(kw_only=True)
class Desired:
    """Series and days to fetch, and the settings of the client."""

    phones: Sequence[str] = ("8005550001", "8005550002", "8005550003", "8005550004", "8005550005")
    first: date = date(2023, 1, 1)
    last: date = date(2023, 12, 31)
    resource: str = "performance"
    period: Period = Period.DAY
    max_days: int = 366
    concurrency: int = 8
    rate: float = 20.0
    limit: int = 150
    window: float = 900.0
    reserve: int = 0
    timeout: float = 60.0


class FaultyStore:
    """Store of the runner that can be slow or fail. It also counts the answers that wait for it."""

    def __init__(self, process: RigProcess, store: AccountStore) -> None:
        self._process = process
        self._store = store

    async def commit(self, batches: Sequence[Batch], failures: Sequence[FailedSlice]) -> RowCounts:
        """See runner.ports.Store."""
        process, rig = self._process, self._process.rig
        rig.commits += 1
        if rig.store_delay:
            await process.clock.sleep(rig.store_delay)
        if (error := rig.store_fails(rig.commits)) is not None:
            raise error
        counts = await self._store.commit(batches, failures)
        process.unstored -= len(batches)
        return counts

    async def answered(self) -> Sequence[Slice]:
        """See runner.ports.Store."""
        return await self._store.answered()

    async def save_range_limits(self, key: RangeKey, limits: RangeLimits) -> None:
        """See runner.ports.Store."""
        await self._store.save_range_limits(key, limits)


class RigProcess:
    """One process of a rig: alive while `Rig.run` runs; its attributes may be read afterwards."""

    def __init__(self, rig: Rig) -> None:
        desired = rig.desired
        self.rig = rig
        self.loop = Loop()
        self.clock = VirtualClock(self.loop, rig.now() + rig.host_ahead)
        self.disk = Disk()
        self.transport = InProcessTransport(rig.wire, timeout=desired.timeout)
        self.slots = asyncio.Semaphore(desired.concurrency)
        self.capacity = CapacityLimiter(2 * desired.concurrency)
        self.report = RunReport(rig.account.name)
        self.events: list[tuple[float, Event, Mapping[str, object]]] = []
        self.unstored = 0  # answers that the runner has and the store has not
        self.most_unstored = 0  # together with what is in flight
        self.plan: Plan | None = None
        self.coordinator: Coordinator | None = None
        self.pool: WorkerPool | None = None
        self.throttle: Throttle | None = None
        self.limit_tracker: RangeLimitTracker | None = None
        self.error: HarvesterError | None = None
        self.died = False
        self.cancelled = False
        self.elapsed = 0.0  # virtual seconds
        self.leftover: set[str] = set()  # tasks that outlived the pool
        self.database = Database(rig.url, executor=self.disk, now=self.clock.time)
        self.unhandled: list[str] = []  # exceptions that the loop would only log
        self.loop.set_exception_handler(lambda _, context: self.unhandled.append(repr(context)))
        self._main: asyncio.Task[None] | None = None

    # Called by tests while it lives

    def interrupt(self) -> None:
        """Ctrl-C."""
        assert self.pool is not None
        self.pool.interrupt()

    def cancel(self) -> None:
        """The second Ctrl-C."""
        assert self._main is not None
        self._main.cancel()

    def kill(self) -> None:
        """kill -9."""
        self.loop.die()

    def emitted(self, event: Event) -> list[Mapping[str, object]]:
        """Return the facts of each emission of this event."""
        return [facts for _, name, facts in self.events if name == event]

    @property
    def failed(self) -> list[str]:
        """The slices given up."""
        return [f"{one.slice}: {one.error}" for one in self.report.failed]

    def free_places(self) -> tuple[int, int]:
        """Return the free slots and the free places of the capacity."""
        return self.slots._value, self.capacity.free  # noqa: SLF001 - there is no public way to ask

    def live(self, at: Mapping[float, Callable[[RigProcess], None]]) -> None:
        """Run from start to end, or to death."""
        for moment, action in at.items():
            self.loop.call_at(moment, action, self)
        self.loop.call_at(TOO_LONG, self.kill)
        self._main = self.loop.create_task(self._run())
        try:
            self.loop.run_until_complete(self._main)
        except Killed:
            self.died = True
        except asyncio.CancelledError:
            self.cancelled = True
        except HarvesterError as error:
            self.error = error
        finally:
            self.elapsed = self.loop.time()
            self.disk.dead = self.transport.dead = True
            self.loop.close_after_death()
            self.database._drop()  # noqa: SLF001 - what the kernel does: files closed, locks gone

    async def _run(self) -> None:
        store = await self.database.claim(self.rig.identity())
        assert isinstance(store, AccountStore), store
        try:
            await self._work(store)
        finally:
            here = asyncio.current_task()
            self.leftover = {str(task.get_coro()) for task in asyncio.all_tasks() if task is not here}
            if self.throttle is not None:
                await self.throttle.close()
            await store.release()

    async def _work(self, store: AccountStore) -> None:
        rig, desired, clock = self.rig, self.rig.desired, self.clock
        limits = await store.range_limits()
        key = (desired.resource, desired.period)
        self.limit_tracker = RangeLimitTracker(limits.get(key, RangeLimits()), desired.max_days)
        series = rig.series()
        absent = await store.unconfirmed_absence()
        stored = stored_of(await store.coverage(series), await store.failed(series), absent)
        rules = Rules(rig.calendar, rig.calendar.local_date(clock.time()), SETTLE_DAYS)
        desires = [Desire(one, desired.first, desired.last) for one in series]
        self.plan = plan_slices(desires, stored, rules, {key: self.limit_tracker.allowed(clock.time())})
        quota = Quota(
            limit=desired.limit,
            window=desired.window,
            reserve=desired.reserve,
            now=clock.monotonic(),
            host=clock.time(),
            fastest=desired.rate,
        )
        self.throttle = Throttle(clock=clock, quota=quota, ledger=store, slots=self.slots)
        await self.throttle.open()
        self.coordinator = Coordinator(self.plan, self._context(), self.report)
        ports = Ports(
            source=self._source(store),
            gate=YieldingGate(self.throttle, self.loop.time),
            store=FaultyStore(self, store),
            clock=clock,
            workers=desired.concurrency,
            capacity=self.capacity,
        )
        self.pool = WorkerPool(ports, self.coordinator)
        if self.plan.slices:
            await self.pool.run()

    def _context(self) -> AccountContext:
        assert self.limit_tracker is not None
        return AccountContext(
            calendar=self.rig.calendar,
            now=self.clock.monotonic,
            epoch_now=self.clock.time,
            jitter=self.rig.random.random,
            limit_trackers={(self.rig.desired.resource, self.rig.desired.period): self.limit_tracker},
            emit=self._emit,
        )

    def _source(self, store: AccountStore) -> HttpSource:
        account, desired = self.rig.account, self.rig.desired
        credentials: DirectCredentials | ToolCredentials
        if account.direct:
            credentials = DirectCredentials(account.login, lambda: account.password, run_blocking=_at_once)
        else:
            credentials = ToolCredentials(
                self.transport,
                self.clock,
                StoredAuthLedger(store),
                base_url=URL,
                tool=account.tool,
                login=account.login,
                password=lambda: account.password,
                limit=AuthLimit(window=desired.window),
                run_blocking=_at_once,
            )
        return HttpSource(self.transport, credentials, base_url=URL)

    def _emit(self, event: Event, /, **facts: object) -> None:
        self.events.append((self.loop.time(), event, facts))
        self.unstored += event is Event.ANSWERED
        self.most_unstored = max(self.most_unstored, self.unstored + self.rig.wire.in_flight)


async def _at_once(function: Callable[[], str]) -> str:
    return function()


class Rig:
    """Server, database, and the processes that fetch from one into the other, one after the other."""

    def __init__(
        self,
        path: Path,
        desired: Desired | None = None,
        options: Options | None = None,
        account: Account | None = None,
        *,
        calendar: Calendar | None = None,
        seed: int = 0,
        host_ahead: float = 0.0,
        start: float = START,
    ) -> None:
        """Create the server; nothing runs yet.

        Args:
            path: of the database file.
            desired: what to fetch.
            options: the server's behaviour.
            account: the customer at the server; with `direct` there is no /auth.
            calendar: the calendar configured in the harvester; by default the server's.
            seed: of the jitter.
            host_ahead: seconds by which the host's clock is ahead of the true one.
            start: true epoch second at which the first process begins.
        """
        if not path.exists():
            create_migrated(path)
        self.url = f"sqlite:///{path}"
        self.desired = desired or Desired()
        self.account = account or Account()
        self.api = SimulatedApi([self.account], options)
        self.calendar = calendar or self.account.world.calendar
        self.random = Random(seed)  # noqa: S311 - jitter, not a secret
        self.host_ahead = host_ahead
        self.wire = Wire(self.api, self.now)
        self.commits = 0
        self.store_delay = 0.0
        self.store_fails: Callable[[int], HarvesterError | None] = lambda _: None
        self.processes: list[RigProcess] = []
        self._clock = start
        self._alive: RigProcess | None = None

    def now(self) -> float:
        """Return the true epoch seconds."""
        return self._clock + (self._alive.loop.time() if self._alive else 0.0)

    def run(
        self, at: Mapping[float, Callable[[RigProcess], None]] | None = None, *, dies_at: int | None = None
    ) -> RigProcess:
        """Run one process to its end.

        Args:
            at: actions on the process, by the seconds since its start.
            dies_at: the step of its loop at which it is killed.
        """
        process = RigProcess(self)
        if dies_at is not None:
            process.loop.die_at(dies_at)
        self._alive = process
        try:
            process.live(at or {})
        finally:
            self._alive = None
            self._clock += process.elapsed
        self.processes.append(process)
        self.wire.settle()
        assert process.elapsed < TOO_LONG, "the run does not end"
        assert process.unhandled == []
        return process

    def wait(self, seconds: float) -> None:
        """Let time pass while no process lives."""
        self._clock += seconds
        self.wire.settle()

    def identity(self) -> AccountIdentity:
        """Return the account as the store identifies it."""
        zone = self.calendar.zone.key
        return AccountIdentity(self.account.name, URL, zone, self.calendar.week_start, SETTLE_DAYS)

    def series(self) -> list[Series]:
        """Return the series to fetch."""
        desired = self.desired
        return [Series(self.account.name, desired.resource, phone, desired.period) for phone in desired.phones]

    # Results and what they are compared with

    def rows(self) -> dict[tuple[str, int, str], float | None]:
        """Return what is stored: (phone, epoch, metric) -> value."""
        rows = query(self.url, "SELECT phone, epoch, metric, value FROM metric_values")
        found = {(phone, epoch, metric): value for phone, epoch, metric, value in rows}
        assert len(found) == len(rows), "a value is stored twice"
        return found

    def truth(self, phones: Sequence[str] | None = None) -> dict[tuple[str, int, str], float | None]:
        """Return what ought to be stored of these phones, by default of all."""
        desired, world = self.desired, self.account.world
        return {
            (phone, epoch, metric): value
            for phone in (desired.phones if phones is None else phones)
            for metric, values in world.truth(
                desired.resource, phone, desired.period, desired.first, desired.last, self.api.server_time(self.now())
            ).items()
            for epoch, value in values.items()
        }

    @property
    def visits(self) -> list[Visit]:
        """All data requests that reached the server."""
        return [visit for visit in self.api.journal if visit.path != AUTH]

    @property
    def auths(self) -> list[Visit]:
        """All requests to /auth that reached the server."""
        return [visit for visit in self.api.journal if visit.path == AUTH]

    def statuses(self) -> Counter[int]:
        """Return how often each status was answered to data requests; 0 where the server closed the connection."""
        return Counter(visit.status for visit in self.visits)

    def most_per_window(self) -> int:
        """Return the most requests that one window has counted for this account."""
        return max(self.api.requests_per_window(self.account.name).values(), default=0)
