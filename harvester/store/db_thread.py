"""The one thread in which SQL runs, and its stand-in for simulated time.

Work that was begun is finished, whoever stops waiting for it: the awaiting task is cancelled, the transaction is
not, so a connection is never left in the middle of one. Later work queues behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


class DatabaseThread:
    """Runs functions one after the other.

    Args:
        executor: must not run two at a time; by default a thread of its own.
    """

    def __init__(self, executor: Executor | None = None) -> None:
        self._owned = executor is None
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="store")

    async def run(self, work: Callable[[], _T], *, undo: Callable[[_T], object] | None = None) -> _T:
        """Await what `work` returns.

        Args:
            work: what to do; not begun if the caller is cancelled before its turn comes.
            undo: called with the result, in the writer's thread, if the caller was cancelled while it was made.
        """
        future = self._executor.submit(work)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if undo is not None:
                self._executor.submit(_undo, future, undo)
            raise

    def close(self) -> None:
        """Take no more work, and let go of its own thread once what was begun is finished."""
        if self._owned:
            self._executor.shutdown(wait=False)


def _undo(future: Future[_T], undo: Callable[[_T], object]) -> None:
    if not future.cancelled() and future.exception() is None:
        undo(future.result())
