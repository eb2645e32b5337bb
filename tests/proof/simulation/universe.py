"""One event loop in which a host, its processes and the server live, and whose time jumps to what happens next.

Everybody shares the loop, so that two processes can meet in one database, and each can die alone: its tasks are
known, and from the step at which it is killed nothing of it reaches the wire or the disk any more. A death may fall
between any two steps. The host may sleep (its loop's timers stand still, its clocks do not), and its clock of the day
may be wrong. Nothing here waits for the world outside, reads its clocks or its luck.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Engine, event

from harvester.errors import StoreLost
from tests.support.in_process import Disk, InProcessTransport, Wire
from tests.support.virtual import VirtualLoop

if TYPE_CHECKING:
    from concurrent.futures import Future

    from harvester.simulator.api import SimulatedApi
    from harvester.store.claims import Database

T = TypeVar("T")
QUIET_LOOKS = 21_600.0  # seconds between two looks for other processes' doings while there is nobody to do anything
BUSY_LOOKS = 20.0
MOST_STEPS = 30_000_000  # of a whole simulation: a backstop


class Spinning(AssertionError):
    """More goes on than can be of any use (I6)."""


class _Ready(deque[asyncio.Handle]):
    """The loop's queue of what can go on: taking one out is one step, and something may happen before it."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.ambushes: dict[int, list[Callable[[], None]]] = {}

    def popleft(self) -> asyncio.Handle:
        self.steps += 1
        if self.steps in self.ambushes:
            for action in self.ambushes.pop(self.steps):
                action()
        if self.steps > MOST_STEPS:
            raise Spinning(f"{self.steps} steps")
        return super().popleft()


class Loop(VirtualLoop):
    """A virtual loop that counts its steps and lets something happen between any two."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = _Ready()
        self.set_task_factory(_owned_task)  # type: ignore[arg-type]

    @property
    def steps(self) -> int:
        """How often anything went on."""
        return self._ready.steps

    def in_steps(self, count: int, action: Callable[[], None]) -> None:
        """Do this before the so many next step."""
        self._ready.ambushes.setdefault(self.steps + max(1, count), []).append(action)


OWNER: ContextVar[SimProcess | None] = ContextVar("OWNER", default=None)


def _owned_task(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:
    task = asyncio.Task(coroutine, loop=loop, **options)
    owner = OWNER.get()
    if owner is not None:
        owner.tasks[task] = None
        task.add_done_callback(owner.ended)
    return task


class HostClock:
    """harvester.clock.Clock of the one host: CLOCK_BOOTTIME runs on while it sleeps, the loop's clock does not."""

    def __init__(self, universe: Universe) -> None:
        self._universe = universe
        self.ahead = 0.0  # of the true time

    def time(self) -> float:
        return self._universe.now() + self.ahead

    def monotonic(self) -> float:
        return self._universe.loop.time() + self._universe.slept

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Universe:
    """The true time, the host, the wire, and who lives.

    Args:
        api: the server.
        start: the true epoch second at which it begins.
        path: of the database file.
    """

    def __init__(self, api: SimulatedApi, start: float, path: Path) -> None:
        self.loop = Loop()
        self.path = path
        self.api = api
        self.start = start
        self.slept = 0.0
        self.host = HostClock(self)
        self.wire = Wire(api, self.now)
        self.processes: list[SimProcess] = []
        self.guests = 0  # processes beside the daemons that daemons should look for
        self.trouble: Callable[[sqlite3.Connection], None] | None = None  # with the database
        self._stirred = asyncio.Event()
        self.loop.set_exception_handler(self._complain)

    def now(self) -> float:
        """The true time, epoch seconds."""
        return self.start + self.loop.time() + self.slept

    async def until(self, moment: float) -> None:
        """Wait for a true moment."""
        while (left := moment - self.now()) > 0:  # noqa: ASYNC110 - the host may sleep meanwhile
            await asyncio.sleep(left)

    def ail(self, trouble: Callable[[sqlite3.Connection], None] | None) -> None:
        """Let something ail the database from now on, for all who use it; None: no more."""
        self.trouble = trouble
        for process in self.processes:
            for connection in process.open_connections():
                (trouble or heal)(connection)

    def suspend(self, seconds: float) -> None:
        """The host sleeps."""
        self.slept += seconds

    def stir(self) -> None:
        """Somebody came or went: whoever looks out for others looks now."""
        self._stirred.set()
        self._stirred = asyncio.Event()

    async def look_out(self, seconds: float) -> None:
        """The pause of a process between two looks at what others left in the database."""
        if self.guests:
            await asyncio.sleep(max(seconds, BUSY_LOOKS))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_LOOKS):
                await self._stirred.wait()

    def fail(self, reason: str) -> None:
        """Something is wrong: end it all before the next step."""

        def end() -> None:
            raise AssertionError(reason)

        self.loop.in_steps(1, end)

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Live through it."""
        event.listen(Engine, "connect", self._connected)
        try:
            self.loop.run_until_complete(story)
        finally:
            for process in self.processes:
                process.kill()
            self._bury()
            event.remove(Engine, "connect", self._connected)

    def _bury(self) -> None:
        for _ in range(100):
            left = asyncio.all_tasks(self.loop)
            if not left:
                break
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        else:
            raise AssertionError(f"they still move: {left}")
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def _complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        task = context.get("task") or context.get("future")
        if task is None or not any(task in process.tasks and process.dead for process in self.processes):
            self.fail(f"{context.get('message')}: {context.get('exception')!r}")

    def _connected(self, connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")  # here no power fails, and time is short
        connection.create_function("strftime", 2, self._strftime)
        owner = OWNER.get()
        if owner is not None:
            owner.connections.append(connection)
            if self.trouble is not None:
                self.trouble(connection)

    def _strftime(self, *arguments: str) -> str:
        assert arguments == ("%s", "now"), "only the time of day was to be replaced"
        return str(int(self.host.time()))


class _Disk(Disk):
    """Runs SQL at once, and none when dead. `losing` is how many calls from now on the connection breaks."""

    def __init__(self, process: SimProcess) -> None:
        super().__init__()
        self._process = process
        self.losing: tuple[int, bool] | None = None  # calls to come, and whether the last one is still carried out

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        if self.losing is None or self.dead:
            return super().submit(fn, *args, **kwargs)
        left, carried_out = self.losing
        if left > 0:
            self.losing = (left - 1, carried_out)
            return super().submit(fn, *args, **kwargs)
        self.losing = None
        return super().submit(self._lost, partial(fn, *args, **kwargs) if carried_out else None)

    def _lost(self, fn: Callable[[], Any] | None) -> Any:
        if fn is not None:
            fn()
        session = self._process.database._connection  # noqa: SLF001 - the connection, cut from outside
        if session is not None:
            session.lost = True
        raise StoreLost("the simulation cut the connection")


class SimProcess:
    """A process on the host, with its tasks, its transports and its disk."""

    database: Database

    async def main(self) -> None:
        """From start to end."""
        raise NotImplementedError

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.disk = _Disk(self)
        self.dead = False
        self.tasks: dict[asyncio.Future[Any], None] = {}
        self.transports: list[InProcessTransport] = []
        self.connections: list[sqlite3.Connection] = []
        self.over = asyncio.Event()
        universe.processes.append(self)

    def start(self) -> None:
        """Begin to live."""
        self.act(self._live())

    def act(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something as a task of this process."""
        before = OWNER.set(self)
        try:
            return self.universe.loop.create_task(work)
        finally:
            OWNER.reset(before)

    async def _live(self) -> None:
        try:
            await self.main()
        finally:
            self.over.set()
            self.universe.stir()

    def ended(self, task: asyncio.Future[Any]) -> None:
        """One of its tasks is over."""
        if not self.dead:
            self.tasks.pop(task, None)

    def transport(self, timeout: float) -> contextlib.AbstractAsyncContextManager[InProcessTransport]:
        """A way to the API, for as long as the process lives."""
        one = InProcessTransport(self.universe.wire, timeout=timeout)
        self.transports = [*self.transports[-3:], one]
        return contextlib.nullcontext(one)

    def open_connections(self) -> list[sqlite3.Connection]:
        """Those that are not closed."""
        living = []
        for connection in self.connections:
            with contextlib.suppress(sqlite3.ProgrammingError):
                _ = connection.total_changes
                living.append(connection)
        self.connections = living
        return living

    def kill(self) -> None:
        """kill -9."""
        if self.dead or self.over.is_set():
            return
        self.dead = self.disk.dead = True
        for transport in self.transports:
            transport.dead = True
        self.database._drop()  # noqa: SLF001 - what the kernel does: files closed, locks gone
        for task in list(self.tasks):
            task.cancel()
        self.over.set()
        self.universe.stir()

    async def buried(self) -> None:
        """Wait until nothing of a dead process moves."""
        for _ in range(100):
            left = [task for task in self.tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1.0)
        else:
            raise AssertionError(f"a dead process still moves: {left}")
        for task in self.tasks:
            if not task.cancelled():
                task.exception()
        self.tasks.clear()


def heal(connection: sqlite3.Connection) -> None:
    """Nothing ails it any more."""
    connection.set_progress_handler(None, 0)
    connection.execute("PRAGMA query_only = OFF")
    connection.execute("PRAGMA max_page_count = 1073741823")
    connection.execute("PRAGMA busy_timeout = 30000")


@contextlib.contextmanager
def belonging_to_nobody() -> Iterator[None]:
    """Tasks made in here are of no process."""
    before = OWNER.set(None)
    try:
        yield
    finally:
        OWNER.reset(before)
