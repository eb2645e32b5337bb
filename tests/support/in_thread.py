"""A server of a test's own, run in a thread: for tests that block, and of other processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

_T = TypeVar("_T")
_WITHIN = 20.0  # seconds


@contextmanager
def in_thread(server: AbstractAsyncContextManager[_T]) -> Iterator[_T]:
    """Enter it in a loop of its own, and leave it at the end of the block."""
    entered = threading.Event()
    found: list[_T] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        async with server as one:
            loops.append((asyncio.get_running_loop(), stop))
            found.append(one)
            entered.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name=type(server).__name__, daemon=True)
    thread.start()
    assert entered.wait(_WITHIN), "it did not start"
    try:
        yield found[0]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(_WITHIN)
    assert not thread.is_alive()
