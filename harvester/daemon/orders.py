"""Backfill orders of an account that the daemon holds, run side by side with its own rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from harvester.core.absence import count_unconfirmed
from harvester.core.coverage import Span
from harvester.core.model import RunReport, Series
from harvester.errors import (
    HarvesterError,
    Interrupted,
    StoreError,
    Superseded,
)
from harvester.runner.worker_pool import WorkerPool
from harvester.store.account_store import AccountStore
from harvester.store.order_report import decode_report, encode_report
from harvester.store.types import BackfillOrder

POLL_SECONDS = 1.5  # between two queries for new orders
REPORT_SECONDS = 0.5  # between two reports of progress

_UNFINISHED = Superseded()  # the order was withdrawn, or is left to the next holder of the account


class OrderWorker:
    """Runs the orders of one held account side by side.

    Args:
        store: of the account.
        begin: returns the worker pool of an order, given the report to fill; None where nothing is missing.
        changed: called when an order begins or ends, since `days` changes then.
        pause: sleeps for so many seconds.
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
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._pools: dict[int, WorkerPool] = {}
        self._polling: asyncio.Task[None] | None = None

    def days(self) -> dict[Series, list[Span]]:
        """Return the days that the running orders ask for."""
        spans: dict[Series, list[Span]] = {}
        for order in self._orders.values():
            for series in order.series:
                spans.setdefault(series, []).append(Span(order.first, order.last))
        return spans

    def open(self) -> None:
        """Start to poll for orders."""
        self._polling = asyncio.create_task(self._poll())
        self._polling.add_done_callback(lambda _: self._changed())

    def check(self) -> None:
        """Raise the error that ended the polling, if there is one."""
        if self._polling is not None and self._polling.done():
            self._polling.result()

    def interrupt(self) -> None:
        """Limit the wait of `close` for requests in flight to a few seconds."""
        for pool in self._pools.values():
            pool.interrupt()

    async def close(self) -> None:
        """Stop, and wait for the requests in flight. The next holder of the account continues unfinished orders."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait({self._polling})
        for pool in self._pools.values():
            pool.recall()
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()))
        for task in (*self._tasks.values(), *([self._polling] if self._polling is not None else [])):
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, StoreError):  # a StoreError ends the whole session anyway
                raise error

    async def _poll(self) -> None:
        while True:
            for task in [task for task in self._tasks.values() if task.done()]:
                task.result()  # raises a StoreError or a bug
            self._tasks = {number: task for number, task in self._tasks.items() if not task.done()}
            for order in await self._store.orders():
                if order.id not in self._orders:
                    self._orders[order.id] = order
                    self._tasks[order.id] = asyncio.create_task(self._run(order))
                    self._changed()
            await self._pause(POLL_SECONDS)

    async def _run(self, order: BackfillOrder) -> None:
        report = RunReport(self._store.identity.name)
        decode_report(order.report, report)
        try:
            ended = await self._run_pool(order, report)
            if ended is not _UNFINISHED:
                absent = await self._store.unconfirmed_absence()
                report.unconfirmed_absent = count_unconfirmed(absent, order.series, self._store.calendar)
                error = None if ended is None else (ended.code, ended.detail)
                await self._store.finish_order(order.id, encode_report(report), error)
        finally:
            self._orders.pop(order.id, None)
            self._changed()

    async def _run_pool(self, order: BackfillOrder, report: RunReport) -> HarvesterError | None:
        """Run the order. Return the error that ended it early, if there was one."""
        reporting: asyncio.Task[None] | None = None
        try:
            pool = await self._begin(order, report)
            if pool is None:
                return None
            self._pools[order.id] = pool
            reporting = asyncio.create_task(self._report(order.id, report, pool))
            await pool.run()
        except Interrupted:
            return _UNFINISHED
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
                    reporting.result()  # raises a StoreError or a bug
        return _UNFINISHED if pool.superseded else None

    async def _report(self, number: int, report: RunReport, pool: WorkerPool) -> None:
        wanted = True  # not withdrawn
        while wanted:
            await self._pause(REPORT_SECONDS)
            try:
                wanted = await self._store.report_order(number, encode_report(report))
            except StoreError:
                pool.recall()  # further progress could not be reported, nor a withdrawal be noticed
                raise
        pool.recall()  # withdrawn
