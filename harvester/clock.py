"""Clocks of the process, passed as an argument and read nowhere else.

`monotonic` counts on while the machine is suspended (CLOCK_BOOTTIME), unlike the event loop's clock: after a suspend a
wait must notice that its moment has passed. Long waits therefore sleep for at most `LONGEST_SLEEP` at a time.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

LONGEST_SLEEP = 15.0  # seconds; the longest delay before a wait notices a suspend

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """The time of day, a monotonic time, and sleeping."""

    def time(self) -> float:
        """Return the epoch seconds of the host's clock, which may be wrong and may be stepped."""
        ...

    def monotonic(self) -> float:
        """Return seconds since a fixed moment; they never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep for about so many seconds."""
        ...


class SystemClock:
    """Clocks of the machine."""

    def time(self) -> float:
        """Return epoch seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since boot, suspends included."""
        return time.clock_gettime(_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)
