"""The daemon's process: account workers, schedule, signals, endpoints and notifications to systemd.

It is ready once the configuration is valid and the endpoints listen; a database that is down delays work, not the
start. SIGTERM and SIGINT finish the requests in flight and end with exit code 0; a second one ends the process at once.
SIGHUP reloads configuration and secrets, all or nothing: every worker is stopped in order and started with the new
settings. If no setting has changed, only those are restarted whose password has changed or which are paused, because
each start requests the provisional days again.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from harvester.clock import SystemClock
from harvester.config import Account, Address, Settings, cron_fields
from harvester.daemon.account_state import AccountState, Phase
from harvester.daemon.account_worker import AccountWorker
from harvester.daemon.chores import Chores
from harvester.daemon.database_watch import LOOK_SECONDS, PROBE_SECONDS, DatabaseWatch
from harvester.daemon.health import gauges_of, ping, readiness_of, status_line
from harvester.daemon.metrics import AccountGauges, Metrics
from harvester.daemon.passwords import Loaded, Passwords
from harvester.daemon.reload import decide
from harvester.daemon.scheduler import RefreshScheduler
from harvester.daemon.sd_notify import Notifier, watchdog_interval
from harvester.engine.process import Process, build_process
from harvester.engine.stopping import CUT_OFF_SECONDS, exit_at_last
from harvester.engine.wiring import build_database
from harvester.errors import ConfigError, ExitCode, HarvesterError, Interrupted
from harvester.events import Event
from harvester.runner.ports import Observer
from harvester.store.claims import Database
from harvester.web.endpoints import Endpoints, Readiness

HOUSEKEEPING_SECONDS = 15.0  # between two runs of the regular checks
BIND_RETRIES = 3  # a second apart


class Service:
    """The daemon. Used once.

    Args:
        settings: valid, every account with a start.
        environ: for secrets and systemd.
        load: reads and validates configuration and secrets. When the event that it is given is set, it may give up.
        emit: receives all events.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        environ: Mapping[str, str],
        load: Callable[[threading.Event], Loaded],
        emit: Observer,
    ) -> None:
        self._started = self._settings = settings
        self._environ = environ
        self._load = load
        self._clock = SystemClock()
        self._log = emit
        self._metrics = Metrics(self._gauges, clock=self._clock)
        self._notifier = Notifier(environ)
        self._workers: dict[str, AccountWorker] = {}
        self._worker_tasks: dict[str, asyncio.Task[None]] = {}  # by account
        self._passwords = Passwords()
        self._background_tasks: set[asyncio.Task[None]] = set()
        self._chores = Chores(self._emit, self._end_with)
        self._database_watch: DatabaseWatch | None = None
        self._process: Process | None = None
        self._scheduler: RefreshScheduler | None = None
        self._pinged = True
        self._ending = asyncio.Event()
        self._ends = threading.Event()  # the same for threads
        self._reloading = asyncio.Lock()
        self._fatal: BaseException | None = None

    async def run(self) -> int:
        """Run until a signal or a fatal error ends the process, and return the exit code.

        Raises:
            ConfigError: the endpoints cannot listen.
            SchemaUnknown: the database belongs to a newer version or to another program.
            SessionShared: the database is behind a pooler that breaks its locks.
        """
        self._add_signal_handlers()
        async with AsyncExitStack() as stack:
            address = await self._start_endpoints(stack)
            try:
                database = await asyncio.to_thread(build_database, self._settings, self._environ, ending=self._ends)
            except Interrupted:
                return ExitCode.OK
            stack.push_async_callback(database.close)
            self._database_watch = DatabaseWatch(database, self._emit)
            self._process = self._build_process(database)
            self._start_workers(self._process, self._settings.accounts.values())
            stack.push_async_callback(self._stop_workers)
            self._start_scheduler()
            stack.callback(self._stop_scheduler)
            self._notifier.ready(self._status())
            self._emit(Event.READY, accounts=len(self._workers), listen=address or "off")
            self._start_chores(self._database_watch)
            stack.push_async_callback(self._chores.stop)
            self._add_reload_handler(database)
            stack.callback(self._stop_background_tasks)
            await self._ending.wait()
            self._limit_stop(database)
            self._notifier.stopping("finishing requests in flight")
            self._emit(Event.STOPPING)
        self._emit(Event.STOPPED)
        if self._fatal is not None:
            raise self._fatal
        return 0

    # Accounts

    def _build_process(self, database: Database) -> Process:
        process = build_process(
            self._settings,
            self._environ,
            database,
            clock=self._clock,
            emit=self._emit,
            measure=self._metrics.request,
            waiting=self._metrics.waiting,
            ending=self._ends,
        )
        return replace(process, password=lambda account: self._passwords.note(account, process.password(account)))

    def _start_workers(self, process: Process, accounts: Iterable[Account]) -> None:
        self._pinged = False
        shuffled = list(accounts)
        random.shuffle(shuffled)  # hosts that start together divide them among themselves
        for account in shuffled:
            worker = AccountWorker(process, account, refreshed=self._refreshed)
            self._workers[account.name] = worker
            self._worker_tasks[account.name] = task = asyncio.create_task(worker.run())
            task.add_done_callback(self._worker_ended)

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:  # SchemaUnknown, SessionShared, or a bug
            self._end_with(error)

    def _end_with(self, error: BaseException) -> None:
        self._fatal = self._fatal or error
        self._ending.set()

    async def _stop_workers(self, accounts: Collection[str] | None = None) -> None:
        """Stop the workers of these accounts, of all by default."""
        names = list(self._workers if accounts is None else accounts)
        for name in names:
            self._workers[name].stop()
        if names:
            await asyncio.wait([self._worker_tasks[name] for name in names])
        for name in names:
            del self._workers[name], self._worker_tasks[name]

    def _tick(self) -> None:
        self._pinged = False
        for worker in self._workers.values():
            worker.tick()

    def _refreshed(self) -> None:
        """Ping the dead-man's switch, once per tick, as soon as every worker is idle or on standby."""
        phases = {worker.state.phase for worker in self._workers.values()}
        url = self._settings.daemon.ping_url
        if url and not self._pinged and phases <= {Phase.IDLE, Phase.STANDBY}:
            self._pinged = True
            self._run_in_background(ping(url, self._emit))

    # Schedule, chores and background tasks

    def _start_scheduler(self) -> None:
        self._scheduler = RefreshScheduler(cron_fields(self._settings.daemon.refresh), self._clock, self._tick)
        self._scheduler.start()

    def _stop_scheduler(self) -> None:
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.stop()

    def _start_chores(self, watch: DatabaseWatch) -> None:
        start = self._chores.start
        start(watch.probe, every=PROBE_SECONDS)
        start(watch.look, every=LOOK_SECONDS)
        start(self._check_clocks, every=HOUSEKEEPING_SECONDS)
        start(self._record_outages, every=HOUSEKEEPING_SECONDS)
        start(self._report_status, every=HOUSEKEEPING_SECONDS)
        interval = watchdog_interval(self._environ, os.getpid())
        if interval is not None:
            start(self._feed_watchdog, every=interval)

    def _check_clocks(self) -> None:
        if self._scheduler is not None and self._scheduler.check_clocks():
            self._emit(Event.CLOCK_JUMPED)

    async def _record_outages(self) -> None:
        for worker in list(self._workers.values()):
            await worker.record_outage()

    def _report_status(self) -> None:
        self._notifier.status(self._status())

    def _feed_watchdog(self) -> None:
        if self._healthy():
            self._notifier.watchdog()

    def _run_in_background(self, work: Any) -> None:  # noqa: ANN401 - any coroutine
        task = asyncio.ensure_future(work)
        self._background_tasks.add(task)
        task.add_done_callback(self._background_task_ended)

    def _background_task_ended(self, task: asyncio.Task[None]) -> None:
        self._background_tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._emit(Event.BUG, error=error)

    def _stop_background_tasks(self) -> None:
        for task in self._background_tasks:
            task.cancel()

    # Signals

    def _add_signal_handlers(self) -> None:
        loop = asyncio.get_running_loop()

        def end() -> None:
            if self._ending.is_set():
                os._exit(ExitCode.OK)  # the second signal: requests in flight are abandoned
            exit_at_last(self._exit_at_once)  # already here: a slow start does not look at `_ending`
            self._ending.set()
            self._ends.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # until the workers run

    def _limit_stop(self, database: Database) -> None:
        """Make sure that the process ends in time, also if no signal ends it. See engine.stopping."""
        self._ends.set()
        exit_at_last(self._exit_at_once)
        asyncio.get_running_loop().call_later(CUT_OFF_SECONDS, database.cut_off)

    def _exit_at_once(self) -> None:
        """End the process without a call that hangs, with the code that it would have had."""
        self._emit(Event.ABANDONED)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        fatal = self._fatal
        code = fatal.exit_code if isinstance(fatal, HarvesterError) else ExitCode.BUG
        os._exit(ExitCode.OK if fatal is None else code)

    def _add_reload_handler(self, database: Database) -> None:
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, lambda: self._run_in_background(self._reload(database))
        )

    async def _reload(self, database: Database) -> None:
        async with self._reloading:
            self._notifier.reloading()
            try:
                loaded = await asyncio.to_thread(self._load, self._ends)
            except Exception as error:  # noqa: BLE001 - the settings in use stay in use, whatever is wrong
                self._metrics.reloaded(successful=False)
                described = str(error) if isinstance(error, HarvesterError) else f"{type(error).__name__}: {error}"
                self._emit(Event.RELOAD_FAILED, error=described)
            else:
                await self._replace(loaded, database)
            finally:  # systemd waits for it
                self._notifier.ready(self._status())

    async def _replace(self, loaded: Loaded, database: Database) -> None:
        decision = decide(self._started, loaded.settings)
        if decision.restart_needed:
            self._emit(Event.RESTART_NEEDED, keys=", ".join(decision.restart_needed))
        try:
            if decision.settings == self._settings:
                await self._restart_some(loaded)
            else:
                await self._restart_all(decision.settings, database)
        except Exception as error:
            self._end_with(error)  # in the middle of it workers may be missing
            raise
        self._metrics.reloaded(successful=True)
        self._emit(Event.RELOADED, accounts=len(self._workers))
        if "CREDENTIALS_DIRECTORY" in self._environ:  # systemd copies them when the service starts, and only then
            self._emit(Event.RESTART_NEEDED, keys="passwords from LoadCredential, if they changed")

    async def _restart_all(self, settings: Settings, database: Database) -> None:
        self._stop_scheduler()
        await self._stop_workers()
        self._settings = settings
        self._process = self._build_process(database)
        self._start_workers(self._process, settings.accounts.values())
        self._start_scheduler()

    async def _restart_some(self, loaded: Loaded) -> None:
        """Restart the accounts that a reload without a changed setting may help; each start costs requests."""
        paused = {name for name, worker in self._workers.items() if worker.state.phase is Phase.PAUSED}
        names = paused | self._passwords.changed(loaded.passwords)
        if names and self._process is not None:
            await self._stop_workers(names)
            self._start_workers(self._process, [self._settings.accounts[name] for name in names])

    # Endpoints and status

    async def _start_endpoints(self, stack: AsyncExitStack) -> str | None:
        daemon = self._settings.daemon
        if daemon.listen is None:
            return None
        endpoints = Endpoints(
            healthy=self._healthy,
            readiness=self._readiness,
            metrics=self._metrics.text,
            allowed_hosts=daemon.allowed_hosts,
            emit=self._emit,
        )
        host, port = await self._bind(endpoints, daemon.listen)
        stack.push_async_callback(endpoints.stop)
        return str(Address(host, port))

    async def _bind(self, endpoints: Endpoints, address: tuple[str, int]) -> tuple[str, int]:
        """Listen, with retries: the previous process may still have the port, and systemd does not restart after 78."""
        for _ in range(BIND_RETRIES):
            try:
                return await endpoints.start(address)
            except ConfigError as error:
                self._emit(Event.WAITING_FOR_PORT, error=str(error))
                await self._clock.sleep(1.0)
        return await endpoints.start(address)

    def _healthy(self) -> bool:
        return self._chores.alive and (self._database_watch is None or self._database_watch.works)

    def _states(self) -> list[AccountState]:
        """Return the accounts' states, in which a database that does not answer is taken into account."""
        problem = "" if self._database_watch is None else self._database_watch.problem
        return [worker.state.without_database(problem) for worker in self._workers.values()]

    def _readiness(self) -> Readiness:
        return readiness_of(self._states())

    def _gauges(self) -> Iterable[AccountGauges]:
        now = self._clock.time()
        return [gauges_of(state, now) for state in self._states()]

    def _status(self) -> str:
        return status_line(self._states())

    def _emit(self, event: Event, /, **facts: object) -> None:
        self._metrics.emit(event, **facts)
        self._log(event, **facts)


def require_starts(settings: Settings) -> None:
    """Refuse accounts without a start.

    Raises:
        ConfigError: an account has no `start`.
    """
    without = [account.name for account in settings.accounts.values() if account.start is None]
    if without:
        raise ConfigError(*(f"accounts.{name}: `run` needs `start`, the first day to store" for name in without))
