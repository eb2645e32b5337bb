"""Virtual time: an event loop whose clock jumps to its next timer, and a Clock that reads it.

Hours pass in milliseconds, and the same run happens again in the same order. Nothing in such a loop may wait for the
world outside (sockets, threads, processes): with no timer and nothing ready the run can never end, and says so.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")
TURN = 1e-6  # seconds that one turn of the loop takes, or code that waits for the clock to move on would spin for ever


class Deadlock(AssertionError):
    """Everybody waits, and nothing is going to happen any more."""


class _Jump(selectors.SelectSelector):
    """Asked to wait for the next timer, lets the clock show its time instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock
        self.now += max(TURN, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jump.now

    def suspend(self, seconds: float) -> None:
        """Let time pass at once, as if the machine had slept: timers that are due meanwhile fire late."""
        self._jump.now += seconds


class VirtualClock:
    """harvester.clock.Clock on a VirtualLoop. `step` moves what the host believes to be the time of day."""

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch: float = 1_700_000_000.0) -> None:
        self._loop = loop
        self._epoch = epoch

    def time(self) -> float:
        return self._epoch + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def step(self, seconds: float) -> None:
        """Somebody set the host's clock."""
        self._epoch += seconds


def run_virtual(main: Coroutine[object, object, T], loop: VirtualLoop | None = None) -> T:
    """Run to the end in virtual time, then cancel what is left."""
    loop = loop or VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
