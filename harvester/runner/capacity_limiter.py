"""Places for what was sent and is not stored yet, over the whole process.

A semaphore will not do: it calls itself locked while anybody who was woken has not run yet. Workers that look whether
there is room, wait for the quota and look again would then find each other in the way, all of them, for ever.
"""

from __future__ import annotations

import asyncio


class CapacityLimiter:
    """So many places. To look and to take is one step where nothing is awaited in between."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        """How many places nobody has."""
        return self._free

    def take(self) -> None:
        """Take a place; there must be a free one."""
        if not self._free:
            raise RuntimeError("there is no room")
        self._free -= 1

    def release(self) -> None:
        """Give a place back."""
        self._free += 1
        self._freed.set()

    async def wait(self) -> None:
        """Until there is a free place. It is not taken: somebody else may be quicker."""
        while not self._free:
            self._freed.clear()
            await self._freed.wait()
