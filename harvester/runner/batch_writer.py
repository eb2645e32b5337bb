"""Writer of one account's answers: what arrives while a transaction is written shares the next one.

One transaction per answer would cost four times as much. The capacity limits how much can wait here: a place is taken
before a request is sent and returned when its answer is stored. So a kill loses no more answers than there are places.
"""

from __future__ import annotations

import asyncio

from harvester.core.model import Batch, FailedSlice, RangeKey, RangeLimits, RunReport
from harvester.errors import StoreError
from harvester.events import Event
from harvester.runner.capacity_limiter import CapacityLimiter
from harvester.runner.ports import Observer, Store


class BatchWriter:
    """The only task of an account that writes.

    Args:
        store: the account's.
        capacity: places of answers; each is returned here.
        report: updated after each transaction.
        emit: takes an event for each transaction.
    """

    def __init__(self, store: Store, capacity: CapacityLimiter, report: RunReport, emit: Observer) -> None:
        self._store = store
        self._capacity = capacity
        self._report = report
        self._emit = emit
        self._batches: list[Batch] = []
        self._failures: list[FailedSlice] = []
        self._limits: dict[RangeKey, RangeLimits] = {}
        self._changed = asyncio.Event()
        self._closing = False
        self.ended = False  # nothing more will be stored

    def put(self, batch: Batch) -> None:
        """Queue an answer. Its place is returned when it is stored, or when it is certain that it will not be."""
        self._batches.append(batch)
        if self.ended:
            self._discard()
        self._changed.set()

    def put_failures(self, failures: list[FailedSlice]) -> None:
        """Queue failed slices."""
        self._failures += failures
        self._changed.set()

    def put_range_limits(self, key: RangeKey, limits: RangeLimits) -> None:
        """Queue what is known of the range limits of a resource and period."""
        self._limits[key] = limits
        self._changed.set()

    def close(self) -> None:
        """Let `run` return once everything queued is stored. Nothing may be queued afterwards."""
        self._closing = True
        self._changed.set()

    async def run(self) -> None:
        """Store until closed.

        Raises:
            StoreError: what was queued since the last transaction is not stored.
        """
        try:
            await self._store_until_closed()
        except StoreError as error:
            self._emit(Event.STORE_FAILED, error=str(error))
            raise
        finally:
            self.ended = True  # before a place is returned: the worker that waits for it must see this
            self._discard()

    async def _store_until_closed(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            limits, self._limits = self._limits, {}
            for key, known in limits.items():
                await self._store.save_range_limits(key, known)
            batches, self._batches = self._batches, []
            failures, self._failures = self._failures, []
            if batches or failures:
                await self._commit(batches, failures)
            elif self._closing:
                return
            if self._closing:
                self._changed.set()

    def _discard(self) -> None:
        """Return the places of answers that will not be stored: other accounts go on with the same capacity."""
        for _ in self._batches:
            self._capacity.release()
        self._batches.clear()

    async def _commit(self, batches: list[Batch], failures: list[FailedSlice]) -> None:
        try:
            counts = await self._store.commit(batches, failures)
        except BaseException:
            self._batches += batches  # `_discard` returns their places with the others
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
