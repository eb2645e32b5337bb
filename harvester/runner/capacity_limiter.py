"""Limit on the requests of the whole process that are sent and whose answers are not stored yet.

A semaphore cannot replace it. A semaphore counts as locked while a woken waiter has not run yet. Workers look for a
free place, wait for the quota, and look again; with a semaphore they could find each other in the way, all of them,
for ever.
"""

from __future__ import annotations

import asyncio


class CapacityLimiter:
    """A fixed number of places. Looking and taking are one step if nothing is awaited between them."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        """The number of free places."""
        return self._free

    def take(self) -> None:
        """Take a free place.

        Raises:
            RuntimeError: no place is free.
        """
        if not self._free:
            raise RuntimeError("no place is free")
        self._free -= 1

    def release(self) -> None:
        """Return a place."""
        self._free += 1
        self._freed.set()

    async def wait(self) -> None:
        """Wait until a place is free. It is not taken: another worker may be faster."""
        while not self._free:
            self._freed.clear()
            await self._freed.wait()
