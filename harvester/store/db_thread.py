"""The one thread that runs SQL.

Work that has begun is always finished: cancelling the awaiting task does not cancel the transaction, so a connection is
never left in the middle of one. Later work queues behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


class DatabaseThread:
    """Runs functions one after another, in their own thread.

    Args:
        executor: runs one call at a time; by default a thread.
    """

    def __init__(self, executor: Executor | None = None) -> None:
        self._owned = executor is None
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="store")

    async def run(self, work: Callable[[], _T], *, undo: Callable[[_T], object] | None = None) -> _T:
        """Run `work` in the thread and return its result.

        Args:
            work: is not begun if the caller is cancelled before its turn.
            undo: called with the result, in the thread, if the caller was cancelled after the work had begun.
        """
        future = self._executor.submit(work)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if undo is not None:
                self._executor.submit(_undo, future, undo)
            raise

    def close(self) -> None:
        """Accept no more work; the thread ends when the work that has begun is finished."""
        if self._owned:
            self._executor.shutdown(wait=False)


def _undo(future: Future[_T], undo: Callable[[_T], object]) -> None:
    if not future.cancelled() and future.exception() is None:
        undo(future.result())
