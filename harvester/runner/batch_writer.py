"""Stores what the workers fetched: whatever has come in while one transaction was written shares the next one.

One transaction an answer would cost four times as much. How much can wait here is bounded by `room`: a place is
taken before a request is sent and given back when its answer is stored, so no more than that is asked for again
after a kill.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from harvester.errors import StoreError
from harvester.events import Event

if TYPE_CHECKING:
    from harvester.core.model import Batch, FailedSlice, RangeLimits, RunReport
    from harvester.runner.capacity_limiter import CapacityLimiter
    from harvester.runner.ports import Observer, Store


class BatchWriter:
    """The one task of an account that writes.

    Args:
        store: the account's.
        room: requests sent and not stored, over the process.
        report: is brought up to date after each transaction.
        tell: is told of each.
    """

    def __init__(self, store: Store, capacity: CapacityLimiter, report: RunReport, emit: Observer) -> None:
        self._store = store
        self._capacity = capacity
        self._report = report
        self._emit = emit
        self._batches: list[Batch] = []
        self._failures: list[FailedSlice] = []
        self._widths: dict[str, RangeLimits] = {}
        self._changed = asyncio.Event()
        self._closing = False
        self.over = False  # nothing more will be stored

    def put(self, batch: Batch) -> None:
        """Have an answer stored; its place in `room` is given back when it is, or when it is known that it won't be."""
        self._batches.append(batch)
        if self.over:
            self._give_up_waiting()
        self._changed.set()

    def put_failures(self, failures: list[FailedSlice]) -> None:
        """Have failed slices remembered."""
        self._failures += failures
        self._changed.set()

    def put_range_limits(self, resource: str, widths: RangeLimits) -> None:
        """Have it remembered how wide a range the server takes."""
        self._widths[resource] = widths
        self._changed.set()

    def close(self) -> None:
        """Nothing more will come: `run` ends when all is stored."""
        self._closing = True
        self._changed.set()

    async def run(self) -> None:
        """Store until closed.

        Raises:
            StoreError: what came since the last transaction is not stored.
        """
        try:
            await self._store_until_closed()
        except StoreError as error:
            self._emit(Event.STORE_FAILED, error=str(error))
            raise
        finally:
            self.over = True  # before a place becomes free: who waits for one must know
            self._give_up_waiting()

    async def _store_until_closed(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            widths, self._widths = self._widths, {}
            for resource, known in widths.items():
                await self._store.save_range_limits(resource, known)
            batches, self._batches = self._batches, []
            failures, self._failures = self._failures, []
            if batches or failures:
                await self._commit(batches, failures)
            elif self._closing:
                return
            if self._closing:
                self._changed.set()

    def _give_up_waiting(self) -> None:
        """Other accounts work on in the same room."""
        for _ in self._batches:
            self._capacity.release()
        self._batches.clear()

    async def _commit(self, batches: list[Batch], failures: list[FailedSlice]) -> None:
        try:
            counts = await self._store.commit(batches, failures)
        except BaseException:
            self._batches += batches  # their places are given back with the others'
            raise
        for _ in batches:
            self._capacity.release()
        slices = self._report.slices
        slices.done += len(batches)
        slices.failed += len(failures)
        self._report.failed += failures
        self._report.rows.add(counts)
        resources = frozenset(batch.slice.series.resource for batch in batches)
        self._emit(Event.COMMITTED, slices=len(batches), failed=len(failures), rows=counts, resources=resources)
