"""Supervised tasks that the daemon repeats: each one is a function that is called again and again.

A call that fails is logged and repeated after a pause that grows, so no error can end a chore silently. A chore that
has failed `MAX_FAILURES` times in a row ends the process, which a service manager can restart. Each chore has a task
of its own: one that waits for the database does not stop the others.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from harvester.core.backoff import backoff
from harvester.events import Event
from harvester.runner.ports import Observer

MAX_FAILURES = 10  # in a row
FIRST_PAUSE_SECONDS = 1.0  # after a failure; doubles with each further one
MAX_PAUSE_SECONDS = 30.0


class Chores:
    """Tasks between `start` and `stop`.

    Args:
        emit: receives an event for each call that failed.
        give_up: called with the error of a chore that failed too often.
        pause: sleeps for so many seconds.
    """

    def __init__(
        self,
        emit: Observer,
        give_up: Callable[[Exception], None],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._emit = emit
        self._give_up = give_up
        self._pause = pause
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def alive(self) -> bool:
        """True while every chore that was started is repeated."""
        return not any(task.done() for task in self._tasks.values())

    def start(self, work: Callable[[], object], *, every: float) -> None:
        """Call `work` now and then `every` so many seconds; what it returns is awaited if it can be.

        The chore's name in the log is that of the function.
        """
        name = getattr(work, "__name__", "chore").strip("_")
        self._tasks[name] = asyncio.create_task(self._repeat(name, work, every))

    async def stop(self) -> None:
        """Cancel all chores and wait for their end."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _repeat(self, name: str, work: Callable[[], object], every: float) -> None:
        failures = 0
        while True:
            try:
                result = work()
                if inspect.isawaitable(result):
                    await result
            except Exception as error:  # noqa: BLE001 - a chore goes on after any error
                failures += 1
                self._emit(Event.BUG, chore=name, error=error)
                if failures == MAX_FAILURES:
                    self._give_up(error)
                    return
                await self._pause(backoff(FIRST_PAUSE_SECONDS, failures, MAX_PAUSE_SECONDS))
            else:
                failures = 0
                await self._pause(every)
