"""Time as an argument: the one place where the process reads its clocks.

`monotonic` runs on while the machine sleeps (CLOCK_BOOTTIME), unlike the event loop's clock: after a suspend a
wait must notice that its moment has passed. So nobody sleeps for longer than `LONGEST_SLEEP` at a stretch.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

LONGEST_SLEEP = 15.0  # seconds; how late a wait may notice that the machine slept

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What time it is, and waiting for a later one."""

    def time(self) -> float:
        """Seconds since 1970 by the host's clock, which may be wrong and may be stepped."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never steps back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after about so many seconds."""
        ...


class SystemClock:
    """The machine's clocks."""

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since boot, sleep included."""
        return time.clock_gettime(_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)
