"""Orders of the backfills beside the daemon, worked off side by side with its own rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from harvester.core.coverage import Span
from harvester.core.model import RunReport, Series
from harvester.errors import (
    HarvesterError,
    Interrupted,
    StoreError,
    Superseded,
)
from harvester.store.order_report import decode, encode

if TYPE_CHECKING:
    from harvester.runner.worker_pool import WorkerPool
    from harvester.store.account_store import AccountStore
    from harvester.store.types import BackfillOrder

LOOK = 1.5  # seconds between two looks for orders


REPORT = 0.5  # seconds between two reports of progress


_WITHDRAWN = Superseded()  # not ended: withdrawn, or left to whoever holds the account next


class OrderWorker:
    """The orders of one held account, worked off side by side.

    Args:
        store: the account's.
        begin: makes a drain of an order, given the report to fill; None where nothing is missing.
        changed: called when another order's days are taken or left.
        pause: waits between two looks, seconds.
    """

    def __init__(
        self,
        store: AccountStore,
        begin: Callable[[BackfillOrder, RunReport], Awaitable[WorkerPool | None]],
        changed: Callable[[], None],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._store = store
        self._begin = begin
        self._changed = changed
        self._pause = pause
        self._orders: dict[int, BackfillOrder] = {}
        self._working: dict[int, asyncio.Task[None]] = {}
        self._pools: dict[int, WorkerPool] = {}
        self._watching: asyncio.Task[None] | None = None

    def days(self) -> dict[Series, list[Span]]:
        """The days that orders are worked on for."""
        spans: dict[Series, list[Span]] = {}
        for order in self._orders.values():
            for series in order.series:
                spans.setdefault(series, []).append(Span(order.first, order.last))
        return spans

    def open(self) -> None:
        """Begin to look for orders."""
        self._watching = asyncio.create_task(self._watch())
        self._watching.add_done_callback(lambda _: self._changed())

    def check(self) -> None:
        """Raise what ended the looking, if anything did."""
        if self._watching is not None and self._watching.done():
            self._watching.result()

    def hurry(self) -> None:
        """Give what is in flight a few seconds only."""
        for pool in self._pools.values():
            pool.interrupt()

    async def close(self) -> None:
        """Let what is in flight land. An order that is not finished is taken up again by whoever holds the account."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        for pool in self._pools.values():
            pool.recall()
        if self._working:
            await asyncio.wait(set(self._working.values()))
        for task in (*self._working.values(), *([self._watching] if self._watching is not None else [])):
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, StoreError):  # of that one, the session is over anyway
                raise error

    async def _watch(self) -> None:
        while True:
            for task in [task for task in self._working.values() if task.done()]:
                task.result()  # the database, or a bug
            self._working = {number: task for number, task in self._working.items() if not task.done()}
            for order in await self._store.orders():
                if order.id not in self._orders:
                    self._orders[order.id] = order
                    self._working[order.id] = asyncio.create_task(self._work(order))
                    self._changed()
            await self._pause(LOOK)

    async def _work(self, order: BackfillOrder) -> None:
        report = RunReport(self._store.identity.name)
        decode(order.report, report)
        try:
            ended = await self._drained(order, report)
            if ended is not _WITHDRAWN:
                error = None if ended is None else (ended.code, ended.detail)
                await self._store.finish_order(order.id, encode(report), error)
        finally:
            self._orders.pop(order.id, None)
            self._changed()

    async def _drained(self, order: BackfillOrder, report: RunReport) -> HarvesterError | None:
        """Work the order off. Returns what ended it before it was done, if anything did."""
        reporting: asyncio.Task[None] | None = None
        try:
            pool = await self._begin(order, report)
            if pool is None:
                return None
            self._pools[order.id] = pool
            reporting = asyncio.create_task(self._report(order.id, report, pool))
            await pool.run()
        except Interrupted:
            return _WITHDRAWN
        except StoreError:
            raise
        except HarvesterError as error:
            return error
        finally:
            self._pools.pop(order.id, None)
            if reporting is not None:
                reporting.cancel()
                await asyncio.wait({reporting})
                if not reporting.cancelled():
                    reporting.result()  # the database, or a bug
        return _WITHDRAWN if pool.superseded else None

    async def _report(self, number: int, report: RunReport, pool: WorkerPool) -> None:
        wanted = True
        while wanted:
            await self._pause(REPORT)
            try:
                wanted = await self._store.report_order(number, encode(report))
            except StoreError:
                pool.recall()  # what it would bring could not be told, nor a withdrawal be noticed
                raise
        pool.recall()  # withdrawn
