"""The processes of a simulation: the daemon and the backfill, put together as the real ones are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from apscheduler.triggers.cron import CronTrigger

from harvester import config
from harvester.backfill.account_run import AccountRun
from harvester.daemon.account_worker import AccountWorker
from harvester.errors import HarvesterError
from harvester.store.claims import Database
from tests.proof.simulation.universe import SimProcess, Universe
from tests.proof.simulation.world_of_faults import HOUR

if TYPE_CHECKING:
    from harvester.config import Settings
    from harvester.engine.account_plan import BackfillRequest
    from harvester.engine.process import Process

JUMP = 30.0  # seconds by which the clocks may part, as daemon.ticks has it


class Home(Protocol):
    """What they live in."""

    @property
    def universe(self) -> Universe: ...

    def process(self, owner: SimProcess, settings: Settings) -> Process: ...


class Daemon(SimProcess):
    """harvester.app.service.Service without signals, endpoints and systemd."""

    def __init__(self, home: Home, settings: Settings) -> None:
        super().__init__(home.universe)
        self._home = home
        self.settings = settings
        self.workers: dict[str, AccountWorker] = {}
        self.doomed: tuple[int, Callable[[], None]] | None = None
        self._running: list[asyncio.Task[None]] = []
        self._ticking: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._stop = asyncio.Event()
        self.database = self._database()

    def _database(self) -> Database:
        return Database(self.settings.database.url, executor=self.disk, now=self.universe.host.time)

    async def main(self) -> None:
        """From start to end."""
        self._begin()
        self.tick()  # for a death that lies in wait; a keeper that begins has all to do anyway
        house = asyncio.create_task(self._keep_house())
        await self._stop.wait()
        house.cancel()
        await self._stop_keepers()
        await self.database.close()

    def stop(self) -> None:
        """SIGTERM."""
        self._stop.set()

    async def reload(self, settings: Settings) -> None:
        """SIGHUP."""
        await self._stop_keepers()
        self.settings = settings
        if not self._stop.is_set():
            self._begin()

    def nudge(self) -> None:
        """Look at the clocks."""
        self._nudge.set()

    def tick(self) -> None:
        """The refresh is due."""
        if self.doomed is not None:
            (steps, end), self.doomed = self.doomed, None
            self.universe.loop.in_steps(steps, end)
        for worker in self.workers.values():
            worker.tick()

    def _begin(self) -> None:
        process = self._home.process(self, self.settings)
        for account in self.settings.accounts.values():
            worker = AccountWorker(process, account, refreshed=lambda: None)
            self.workers[account.name] = worker
            self._running.append(asyncio.create_task(worker.run()))
        self._ticking = asyncio.create_task(self._ticks())

    async def _stop_keepers(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        for worker in self.workers.values():
            worker.stop()
        running, self._running = self._running, []
        if running:
            await asyncio.wait(running)
            for task in running:
                task.result()
        self.workers.clear()

    async def _ticks(self) -> None:
        """As daemon.ticks: the cron's moments by the clock of the day, and one for each jump of that."""
        host = self.universe.host
        trigger = CronTrigger(**config.cron_fields(self.settings.daemon.refresh), timezone="UTC")
        apart = host.time() - host.monotonic()
        while True:
            due = trigger.get_next_fire_time(None, datetime.fromtimestamp(host.time(), UTC)).timestamp()
            while abs(host.time() - host.monotonic() - apart) <= JUMP and (left := due - host.time()) > 0:
                self._nudge.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._nudge.wait()
            apart = host.time() - host.monotonic()
            self.tick()
            await asyncio.sleep(1.0)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUR / 2)
            for worker in list(self.workers.values()):
                await worker.record_outage()


class Backfill(SimProcess):
    """`harvester backfill` of all accounts, beside the daemon or alone."""

    def __init__(self, home: Home, settings: Settings, request: BackfillRequest) -> None:
        super().__init__(home.universe)
        self.database = Database(settings.database.url, executor=self.disk, now=self.universe.host.time)
        process = home.process(self, settings)
        self.runs = [AccountRun(process, account, request) for account in settings.accounts.values()]

    async def main(self) -> None:
        """From start to end."""
        self.universe.guests += 1
        self.universe.stir()
        try:
            await asyncio.gather(*(self._one(run) for run in self.runs))
        finally:
            self.universe.guests -= 1
            if not self.dead:
                await self.database.close()

    @staticmethod
    async def _one(run: AccountRun) -> None:
        with suppress(HarvesterError):  # the daemon goes on
            await run.run()
