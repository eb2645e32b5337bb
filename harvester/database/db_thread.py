"""The one thread that runs SQL.

Work that has begun is always finished: cancelling the awaiting task does not cancel the transaction, so a connection is
never left in the middle of one. Later work queues behind it.
"""

from __future__ import annotations

import asyncio
import time
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
        self._unfinished: dict[object, float] = {}  # monotonic seconds at which each call was made, oldest first
        self._running_since: float | None = None  # monotonic seconds

    async def run(self, work: Callable[[], _T], *, undo: Callable[[_T], object] | None = None) -> _T:
        """Run `work` in the thread and return its result.

        Args:
            work: is not begun if the caller is cancelled before its turn.
            undo: called with the result, in the thread, if the caller was cancelled after the work had begun.
        """
        call = object()
        self._unfinished[call] = time.monotonic()
        try:
            future = self._executor.submit(self._timed(work))
        except BaseException:
            del self._unfinished[call]
            raise
        future.add_done_callback(lambda _: self._unfinished.pop(call, None))  # in the thread, if it has begun
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if undo is not None:
                self._executor.submit(_undo, future, undo)
            raise

    @property
    def waiting_since(self) -> float | None:
        """The monotonic moment at which the oldest unfinished call was made; None if there is none."""
        return next(iter(list(self._unfinished.values())), None)

    @property
    def running_since(self) -> float | None:
        """The monotonic moment at which the thread began its present call; None if it has none."""
        return self._running_since

    def _timed(self, work: Callable[[], _T]) -> Callable[[], _T]:
        def timed() -> _T:
            self._running_since = time.monotonic()
            try:
                return work()
            finally:
                self._running_since = None

        return timed

    def close(self) -> None:
        """Accept no more work; the thread ends when the work that has begun is finished."""
        if self._owned:
            self._executor.shutdown(wait=False)


def _undo(future: Future[_T], undo: Callable[[_T], object]) -> None:
    if not future.cancelled() and future.exception() is None:
        undo(future.result())
