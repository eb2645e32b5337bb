"""Schedule of the refresh: APScheduler calls the ticks, and a comparison of the clocks corrects what it cannot notice.

APScheduler waits by the event loop's clock for a moment of the wall clock. When the host slept or its clock was
stepped, that wait is wrong. So the two clocks are compared regularly; if their difference jumped, there is one tick at
once and a new schedule, however many ticks were missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from harvester.clock import Clock

MAX_SHIFT_SECONDS = 30.0  # between the two clocks from one comparison to the next; more is a step or a sleep


class RefreshScheduler:
    """Calls a function at every tick between `start` and `stop`.

    Args:
        fields: of the cron expression, as CronTrigger expects them; in UTC.
        clock: whose wall clock and monotonic clock are compared.
        tick: called in the event loop.
    """

    def __init__(self, fields: Mapping[str, str], clock: Clock, tick: Callable[[], None]) -> None:
        self._clock = clock
        self._tick = tick
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._trigger = CronTrigger(**fields, timezone="UTC")
        self._difference = clock.time() - clock.monotonic()
        self._runs = False  # APScheduler's own flag changes a moment after `shutdown`

    def start(self) -> None:
        """Start the schedule; the first tick is the next one of the cron expression."""
        self._scheduler.add_job(
            self._run, self._trigger, id="refresh", coalesce=True, max_instances=1, misfire_grace_time=None
        )
        self._scheduler.start()
        self._runs = True

    def stop(self) -> None:
        """Stop the schedule: no tick comes after this."""
        if self._runs:
            self._runs = False
            self._scheduler.shutdown(wait=False)

    def check_clocks(self) -> bool:
        """Compare the clocks. If the host slept or its clock was stepped, tick, renew the schedule and return True."""
        difference = self._clock.time() - self._clock.monotonic()
        jumped = abs(difference - self._difference) > MAX_SHIFT_SECONDS
        self._difference = difference
        if not self._runs:
            return False
        if jumped:
            self._scheduler.reschedule_job("refresh", trigger=self._trigger)
            self._tick()
        else:
            self._scheduler.wakeup()
        return jumped

    async def _run(self) -> None:
        self._tick()
