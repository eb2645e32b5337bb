"""The daemon from its first line to its exit code: keepers, ticks, signals, endpoints, and what systemd hears.

It is ready once the configuration holds and the endpoints listen; a database that is down delays work, not the start.
SIGTERM and SIGINT let what is in flight land and leave 0; a second one leaves at once. SIGHUP reads configuration and
secrets anew, all or nothing: every keeper is stopped in order and started with the new settings.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from harvester.clock import SystemClock
from harvester.config import Address, Settings, cron_fields
from harvester.daemon.account_state import Phase
from harvester.daemon.account_worker import AccountWorker
from harvester.daemon.health import gauges_of, ping, status_line
from harvester.daemon.metrics import AccountGauges, Metrics
from harvester.daemon.reload import decide
from harvester.daemon.scheduler import RefreshScheduler
from harvester.daemon.sd_notify import Notifier, watchdog_interval
from harvester.engine.process import build_process
from harvester.engine.wiring import build_database
from harvester.errors import ConfigError, HarvesterError
from harvester.events import Event
from harvester.web.endpoints import Endpoints, Readiness

if TYPE_CHECKING:
    from harvester.runner.ports import Observer
    from harvester.store.database import Database

HOUSEKEEPING = 15.0  # seconds
BIND_TRIES = 3  # a second apart


class Service:
    """The daemon. Used once.

    Args:
        settings: valid, every account with a start.
        environ: for secrets and systemd.
        load: reads configuration and secrets anew.
        tell: is told what happens.
    """

    def __init__(
        self, settings: Settings, *, environ: Mapping[str, str], load: Callable[[], Settings], emit: Observer
    ) -> None:
        self._started = self._settings = settings
        self._environ = environ
        self._load = load
        self._clock = SystemClock()
        self._log = emit
        self._metrics = Metrics(self._gauges, clock=self._clock)
        self._notifier = Notifier(environ)
        self._workers: dict[str, AccountWorker] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._chores: set[asyncio.Task[None]] = set()
        self._ticks: RefreshScheduler | None = None
        self._pinged = True
        self._over = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._fatal: BaseException | None = None

    async def run(self) -> int:
        """Serve until told to end; returns the exit code.

        Raises:
            ConfigError: the endpoints cannot listen.
        """
        self._listen_to_signals()
        async with AsyncExitStack() as stack:
            address = await self._serve(stack)
            database = build_database(self._settings, self._environ)
            stack.push_async_callback(database.close)
            self._begin(database)
            stack.push_async_callback(self._stop_keepers)
            self._start_ticks()
            stack.callback(self._stop_ticks)
            self._notifier.ready(self._status())
            self._emit(Event.READY, accounts=len(self._workers), listen=address or "nowhere")
            self._start_chores(database)
            stack.callback(self._stop_chores)
            await self._over.wait()
            self._notifier.stopping("landing what is in flight")
            self._emit(Event.STOPPING)
        self._emit(Event.STOPPED)
        if self._fatal is not None:
            raise self._fatal
        return 0

    # Accounts

    def _begin(self, database: Database) -> None:
        process = build_process(
            self._settings,
            self._environ,
            database,
            clock=self._clock,
            emit=self._emit,
            measure=self._metrics.request,
            waiting=self._metrics.waiting,
        )
        self._pinged = False
        accounts = list(self._settings.accounts.values())
        random.shuffle(accounts)  # hosts that start together divide them
        for account in accounts:
            worker = AccountWorker(process, account, refreshed=self._refreshed)
            self._workers[account.name] = worker
            task = asyncio.create_task(worker.run())
            self._running.add(task)
            task.add_done_callback(self._worker_ended)

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # a database of another program's, or a bug
            self._fatal = self._fatal or error
            self._over.set()

    async def _stop_keepers(self) -> None:
        for worker in self._workers.values():
            worker.stop()
        if self._running:
            await asyncio.wait(set(self._running))
        self._workers.clear()

    def _tick(self) -> None:
        self._pinged = False
        for worker in self._workers.values():
            worker.tick()

    def _refreshed(self) -> None:
        """A keeper has nothing left to do. When that is true of all, tell whoever watches over us."""
        phases = {worker.state.phase for worker in self._workers.values()}
        url = self._settings.daemon.ping_url
        if url and not self._pinged and phases <= {Phase.IDLE, Phase.STANDBY}:
            self._pinged = True
            self._chore(ping(url, self._emit))

    # Ticks and chores

    def _start_ticks(self) -> None:
        self._ticks = RefreshScheduler(cron_fields(self._settings.daemon.refresh), self._clock, self._tick)
        self._ticks.start()

    def _stop_ticks(self) -> None:
        if self._ticks is not None:
            self._ticks.stop()

    def _start_chores(self, database: Database) -> None:
        self._chore(self._keep_house())
        interval = watchdog_interval(self._environ, os.getpid())
        if interval is not None:
            self._chore(self._feed_watchdog(interval))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: self._chore(self._reload(database)))

    def _chore(self, work: Any) -> None:  # noqa: ANN401 - any coroutine
        task = asyncio.ensure_future(work)
        self._chores.add(task)
        task.add_done_callback(self._chore_ended)

    def _chore_ended(self, task: asyncio.Task[None]) -> None:
        self._chores.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._emit(Event.BUG, error=error)

    def _stop_chores(self) -> None:
        for task in self._chores:
            task.cancel()

    async def _keep_house(self) -> None:
        while True:
            await self._clock.sleep(HOUSEKEEPING)
            if self._ticks is not None and self._ticks.look():
                self._emit(Event.CLOCK_JUMPED)
            for worker in list(self._workers.values()):
                await worker.note_outage()
            self._notifier.status(self._status())

    async def _feed_watchdog(self, interval: float) -> None:
        while True:
            self._notifier.watchdog()
            await self._clock.sleep(interval)

    # Signals

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def ended() -> None:
            if self._over.is_set():
                os._exit(0)  # asked twice: what is in flight is let go of
            self._over.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # until there is something to reload

    async def _reload(self, database: Database) -> None:
        async with self._reloading:
            self._notifier.reloading()
            try:
                settings = await asyncio.to_thread(self._load)
            except HarvesterError as error:
                self._metrics.reloaded(successful=False)
                self._emit(Event.RELOAD_FAILED, error=str(error))
            else:
                await self._replace(settings, database)
            self._notifier.ready(self._status())

    async def _replace(self, settings: Settings, database: Database) -> None:
        decision = decide(self._started, settings)
        if decision.restart_needed:
            self._emit(Event.RESTART_NEEDED, keys=", ".join(decision.restart_needed))
        self._stop_ticks()
        await self._stop_keepers()
        self._settings = decision.settings
        self._begin(database)
        self._start_ticks()
        self._metrics.reloaded(successful=True)
        self._emit(Event.RELOADED, accounts=len(self._workers))
        if "CREDENTIALS_DIRECTORY" in self._environ:  # systemd copies them when the service starts, and only then
            self._emit(Event.RESTART_NEEDED, keys="passwords from LoadCredential, if they changed")

    # What others see

    async def _serve(self, stack: AsyncExitStack) -> str | None:
        daemon = self._settings.daemon
        if daemon.listen is None:
            return None
        endpoints = Endpoints(
            healthy=lambda: True,
            readiness=self._readiness,
            metrics=self._metrics.text,
            allowed_hosts=daemon.allowed_hosts,
            emit=self._emit,
        )
        host, port = await self._bind(endpoints, daemon.listen)
        stack.push_async_callback(endpoints.stop)
        return str(Address(host, port))

    async def _bind(self, endpoints: Endpoints, address: tuple[str, int]) -> tuple[str, int]:
        """A port may be held for a moment by whoever was there before; systemd would not try again after a 78."""
        for _ in range(BIND_TRIES):
            try:
                return await endpoints.start(address)
            except ConfigError as error:
                self._emit(Event.WAITING_FOR_PORT, error=str(error))
                await self._clock.sleep(1.0)
        return await endpoints.start(address)

    def _readiness(self) -> Readiness:
        states = [worker.state for worker in self._workers.values()]
        return Readiness(
            ready=any(state.ready for state in states),
            body={
                "accounts": [
                    {
                        "name": state.account.name,
                        "state": state.phase.value,
                        "reason": state.outage or state.reason or None,
                    }
                    for state in states
                ],
                "paused": {state.account.name: state.reason for state in states if state.phase is Phase.PAUSED},
            },
        )

    def _gauges(self) -> Iterable[AccountGauges]:
        now = self._clock.time()
        return [gauges_of(worker.state, now) for worker in self._workers.values()]

    def _status(self) -> str:
        return status_line([worker.state for worker in self._workers.values()])

    def _emit(self, event: Event, /, **facts: object) -> None:
        self._metrics.emit(event, **facts)
        self._log(event, **facts)


def require_starts(settings: Settings) -> None:
    """Refuse accounts of which nobody said where to begin.

    Raises:
        ConfigError: one has no `start`.
    """
    without = [account.name for account in settings.accounts.values() if account.start is None]
    if without:
        raise ConfigError(*(f"accounts.{name}: `run` needs `start`, the first day to keep" for name in without))
