"""The refresh's ticks: APScheduler drives them, and a look at the clocks makes up what it cannot see.

The scheduler waits by the event loop's clock for a moment of the wall clock. When the host slept or its clock was
stepped, that wait is wrong, so both clocks are compared now and then; a difference that jumped is one tick at once
and a new schedule, however many ticks were missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

if TYPE_CHECKING:
    from harvester.clock import Clock

JUMP = 30.0  # seconds by which the clocks may part between two looks before it counts as a step


class RefreshScheduler:
    """Calls a function at every tick, between `start` and `stop`.

    Args:
        fields: of the cron expression, as CronTrigger takes them; UTC.
        clock: to be looked at.
        tick: called in the event loop.
    """

    def __init__(self, fields: Mapping[str, str], clock: Clock, tick: Callable[[], None]) -> None:
        self._clock = clock
        self._tick = tick
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._trigger = CronTrigger(**fields, timezone="UTC")
        self._apart = clock.time() - clock.monotonic()

    def start(self) -> None:
        """Begin; the first tick is the cron's next."""
        self._scheduler.add_job(
            self._run, self._trigger, id="refresh", coalesce=True, max_instances=1, misfire_grace_time=None
        )
        self._scheduler.start()

    def stop(self) -> None:
        """No tick comes after this."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def look(self) -> bool:
        """Compare the clocks; returns whether one was stepped or the host slept, which was then made up."""
        apart = self._clock.time() - self._clock.monotonic()
        jumped = abs(apart - self._apart) > JUMP
        self._apart = apart
        if jumped:
            self._scheduler.reschedule_job("refresh", trigger=self._trigger)
            self._tick()
        else:
            self._scheduler.wakeup()
        return jumped

    async def _run(self) -> None:
        self._tick()
