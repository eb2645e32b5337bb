"""A scenario lived through: the real keepers, backfills, store, quota and source, in virtual time.

What is not the real thing: the event loop, the transport, the host's clock, the thread of the store, and what drives
the ticks (`CronTrigger.get_next_fire_time` does, as in the daemon, but on the virtual clock of the day). The database
is a file of SQLite's in the real schema.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from harvester.engine.account_plan import BackfillRequest
from harvester.engine.process import Process, build_process
from harvester.simulator.api import SimulatedApi
from harvester.simulator.faults import NO_FAULTS
from harvester.store.migrate import migrate
from tests.proof.simulation.processes import Backfill, Daemon
from tests.proof.simulation.universe import SimProcess, Universe, belonging_to_nobody
from tests.proof.simulation.world_of_faults import CANARY, DAY, HOUR, Death, Happening, Scenario, What, Wishes, changed
from tests.support.in_process import NetworkState

if TYPE_CHECKING:
    from harvester.config import Account, Settings

NOTICED = 15.0  # seconds in which the daemon notices that the host slept or a clock was stepped
LOOK = 12 * DAY  # between two looks at the invariants while things happen
RECOVERED = 1.5 * DAY  # after the last fault: a rest of a failed slice, a tick, and the windows that it takes
STEPS_PER_HOUR = 25_000  # of the loop, beside those that a request takes
STEPS_PER_REQUEST = 1_500


@cache
def _template() -> Path:
    """An empty database in the newest schema: migrating takes longer than a simulated month."""
    path = Path(mkdtemp(prefix="simulation-")) / "empty.db"
    migrate(f"sqlite:///{path}")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


@dataclass
class Simulation:
    """One scenario's life. `check` is called now and then with the moment's name; it raises when something is wrong."""

    scenario: Scenario
    folder: Path
    check: Callable[[Simulation, str], None]
    emitted: Counter[str] = field(default_factory=Counter)
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=400))

    def __post_init__(self) -> None:
        scenario = self.scenario
        self.path = self.folder / f"{scenario.seed}.db"
        shutil.copy(_template(), self.path)
        self.api = SimulatedApi(scenario.accounts, scenario.options)
        self.universe = Universe(self.api, scenario.start, self.path)
        self.universe.host.ahead = scenario.host_ahead
        self.luck = Random(f"harvester {scenario.seed}")  # noqa: S311 - jitter and the details of changes
        self.wishes: Wishes = scenario.wishes
        self.settles = {scenario.wishes.settle_days}  # all that ever were configured
        self.daemons: list[Daemon] = []
        self.memory: dict[str, Any] = {}  # of the checks
        self.digest = sha256()  # of everything told, and when: two runs of a seed have the same

    @property
    def url(self) -> str:
        """The database."""
        return f"sqlite:///{self.path}"

    @property
    def settings(self) -> Settings:
        """The present configuration."""
        return self.scenario.settings(self.wishes, self.path)

    def process(self, owner: SimProcess, settings: Settings) -> Process:
        """A process' surroundings."""

        async def run_blocking(function: Callable[[], str]) -> str:
            return function()

        def transport(account: Account) -> Any:
            return owner.transport(account.api.timeout)

        emit = partial(self.emit, owner)
        return replace(
            build_process(settings, {}, owner.database, clock=self.universe.host, emit=emit),
            transport=transport,
            jitter=self.luck.random,
            run_blocking=run_blocking,
            pause=self.universe.look_out,
        )

    def emit(self, owner: SimProcess, event: str, /, **facts: object) -> None:
        """What the log would say."""
        if owner.dead:
            return
        line = f"{event} {facts!r}"
        if CANARY in line:
            self.universe.fail(f"a secret in the log (I5): {line}")
        if event == "bug":
            self.universe.fail(f"a bug: {line}")
        self.emitted[event] += 1
        self.digest.update(f"{self.universe.now()!r} {event}\n".encode())
        at = datetime.fromtimestamp(self.universe.now(), UTC)
        self.recent.append(f"{at:%m-%d %H:%M:%S} {line[:300]}")

    # Its life

    def run(self) -> None:
        """From the first second to the last."""
        self.universe.run(self._story())

    async def _story(self) -> None:
        universe, scenario = self.universe, self.scenario
        watch = asyncio.create_task(self._watch())
        self._begin_with_deaths(list(scenario.infancy))
        happenings = deque(scenario.happenings)
        look = scenario.start + LOOK
        while happenings or look < scenario.calm:
            at = scenario.start + happenings[0].at if happenings else look
            await universe.until(min(at, look))
            if look <= at:
                self.check(self, "underway")
                look += LOOK
                continue
            self._happen(happenings.popleft())
        await universe.until(scenario.calm)
        await self._calm_down()
        await universe.until(scenario.calm + RECOVERED)
        self.check(self, "recovered")
        await universe.until(scenario.end)
        for daemon in self.daemons:
            daemon.stop()
            await daemon.over.wait()
        watch.cancel()
        universe.wire.settle()
        self.check(self, "ended")

    async def _watch(self) -> None:
        """Every hour: nothing spins (I6), nobody complains."""
        universe = self.universe
        steps, requests = universe.loop.steps, self.api.total
        worst = 0.0
        while True:
            await asyncio.sleep(HOUR)
            gone, asked = universe.loop.steps - steps, self.api.total - requests
            steps, requests = universe.loop.steps, self.api.total
            worst = max(worst, gone / (STEPS_PER_HOUR + STEPS_PER_REQUEST * asked))
            self.memory["busiest"] = worst
            assert worst <= 1, f"{gone} steps and {asked} requests in an hour (I6)"

    def _start(self, *, second: bool = False) -> Daemon:
        daemon = Daemon(self, self.settings)
        self.daemons = [one for one in self.daemons if not one.over.is_set()]
        self.daemons.append(daemon) if second else self.daemons.insert(0, daemon)
        daemon.start()
        return daemon

    def _begin_with_deaths(self, deaths: list[Death]) -> None:
        """Start a daemon; where deaths are left, it dies soon after its beginning, and another one begins."""
        daemon = self._start()
        if not deaths:
            return
        death = deaths.pop(0)

        def die() -> None:
            if not daemon.over.is_set():
                daemon.kill()
                self._spawn(begin_again())

        async def begin_again() -> None:
            await daemon.buried()
            await asyncio.sleep(5.0)
            self._begin_with_deaths(deaths)

        self.universe.loop.call_later(death.seconds, self.universe.loop.in_steps, death.steps, die)

    async def _calm_down(self) -> None:
        """From now on nothing happens any more. Whoever died was started again, the host's clock was set."""
        self.api.options = replace(self.api.options, faults=NO_FAULTS, auth_faults=NO_FAULTS)
        self.api.injected.clear()
        for account in self.scenario.accounts:
            self.api.resume(account.name)
        for process in self.universe.processes:
            process.disk.losing = None
        for daemon in self.daemons:
            daemon.doomed = None
        if not any(not daemon.over.is_set() for daemon in self.daemons):
            self._start()

    def _happen(self, one: Happening) -> None:
        self.recent.append(f"=== {one}")
        if one.what in _TO_A_DAEMON:
            first = next((daemon for daemon in self.daemons if not daemon.over.is_set()), None)
            if first is not None:
                self._befall(first, one)
        elif one.what in _TAKE_TIME:
            self._spawn(_TAKE_TIME[one.what](self, one))
        else:
            self._change(one)

    def _befall(self, daemon: Daemon, one: Happening) -> None:
        if one.what is What.KILL:
            daemon.doomed = (one.steps, partial(self._die, daemon, one.seconds))
        elif one.what is What.RESTART:
            self._spawn(self._restart(daemon, one.seconds))
        else:
            daemon.disk.losing = (one.steps, one.kind == "after")

    def _change(self, one: Happening) -> None:
        universe = self.universe
        match one.what:
            case What.SUSPEND:
                universe.suspend(one.seconds)
                self._noticed()
            case What.HOST_CLOCK:
                universe.host.ahead += one.seconds
                self._noticed()
            case What.EXPIRE:
                self.api.registry.expire()
            case What.WEATHER:
                now = universe.now()
                universe.wire.outages.append((now, now + one.seconds, NetworkState[one.kind]))

    def _spawn(self, work: Any) -> None:
        with belonging_to_nobody():
            task = asyncio.create_task(work)
        task.add_done_callback(_raise)

    def _noticed(self) -> None:
        for daemon in self.daemons:
            self.universe.loop.call_later(NOTICED, daemon.nudge)

    def _die(self, daemon: Daemon, seconds: float) -> None:
        if daemon.over.is_set() or self.universe.now() > self.scenario.calm:
            return
        self.recent.append("=== killed")
        daemon.kill()
        self._spawn(self._succeed(daemon, seconds))

    async def _succeed(self, daemon: Daemon, seconds: float) -> None:
        await daemon.buried()
        await self._started_after(seconds)

    async def _started_after(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, max(0.0, self.scenario.calm - self.universe.now())))
        self._start()

    async def _restart(self, daemon: Daemon, seconds: float) -> None:
        daemon.stop()
        await daemon.over.wait()
        if not daemon.dead:
            await self._started_after(seconds)

    async def _wish(self, one: Happening) -> None:
        self.wishes = changed(self.wishes, one.kind, self.luck)
        self.settles.add(self.wishes.settle_days)
        for daemon in list(self.daemons):
            if daemon.over.is_set():
                continue
            if one.seconds:
                await self._restart(daemon, one.seconds)
            else:
                reloading = daemon.act(daemon.reload(self.settings))
                await asyncio.wait({reloading})

    async def _refuse(self, one: Happening) -> None:
        for account in self.scenario.accounts:
            self.api.suspend(account.name)
        await asyncio.sleep(one.seconds)
        for account in self.scenario.accounts:
            self.api.resume(account.name)

    async def _second(self, one: Happening) -> None:
        daemon = self._start(second=True)
        await asyncio.sleep(one.seconds)
        daemon.stop()

    async def _backfill(self, one: Happening) -> None:
        back = timedelta(days=self.luck.choice((3, 30, 200)))
        ahead = timedelta(days=self.luck.choice((0, 1, 20)))

        def days(today: Any) -> Any:
            return today - back - ahead, today - ahead

        backfill = Backfill(self, self.settings, BackfillRequest(days=days, refetch=one.kind == "refetch"))
        backfill.start()
        if one.steps:
            self.universe.loop.in_steps(one.steps, backfill.kill)
        await backfill.over.wait()
        if backfill.dead:
            await backfill.buried()

    async def _ail(self, one: Happening) -> None:
        """Something ails the database, for all who use it; one thing at a time."""
        if self.universe.trouble is not None:
            return
        lock = sqlite3.connect(self.path, isolation_level=None) if one.kind == "locked" else None
        if lock is not None:
            lock.execute("PRAGMA busy_timeout = 0")
            lock.execute("BEGIN IMMEDIATE")
        self.universe.ail(partial(_ailing, one.kind, self.luck))
        await asyncio.sleep(one.seconds)
        if lock is not None:
            lock.rollback()
            lock.close()
        self.universe.ail(None)


_TO_A_DAEMON = frozenset({What.KILL, What.RESTART, What.LOSE})
_TAKE_TIME = {
    What.REFUSE: Simulation._refuse,  # noqa: SLF001 - this module's own
    What.DATABASE: Simulation._ail,  # noqa: SLF001 - the same
    What.WISH: Simulation._wish,  # noqa: SLF001 - the same
    What.BACKFILL: Simulation._backfill,  # noqa: SLF001 - the same
    What.SECOND: Simulation._second,  # noqa: SLF001 - the same
}


def _ailing(kind: str, luck: Random, connection: sqlite3.Connection) -> None:
    match kind:
        case "full":
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")
        case "locked":
            connection.execute("PRAGMA busy_timeout = 0")
        case "read-only":
            connection.execute("PRAGMA query_only = ON")
        case _:
            connection.set_progress_handler(lambda: luck.random() < 0.1, 200)


def _raise(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.result()
