"""A backfill beside a daemon: an order, handed over in the database.

The daemon holds the account, so a backfill that finds it held leaves an order there, shows what the daemon
reports, and takes over if the daemon dies. An order is a range, not a list of slices: what there is to ask for
is computed by whoever works it off. Withdrawn, or without a sign of life for a minute, it is dropped.

The daemon works orders off beside its own rounds, through the same quota, and leaves their days to them meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

from harvester.app.account import series_of
from harvester.core.coverage import Span
from harvester.core.model import FailedSlice, RowCounts, RunReport, Series, Slice, SliceCounts
from harvester.core.period import Period
from harvester.errors import (
    CalendarMismatch,
    ConfigError,
    CredentialsRefused,
    HarvesterError,
    Interrupted,
    SourceError,
    StoreError,
    Superseded,
    Unreachable,
)
from harvester.store.records import OrderState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from harvester.app.account import Order
    from harvester.config import Account
    from harvester.runner.drain import Drain
    from harvester.store.account import AccountStore
    from harvester.store.database import Database
    from harvester.store.records import BackfillOrder

LOOK = 1.5  # seconds between two looks for orders
REPORT = 0.5  # seconds between two reports of progress

_KNOWN: Mapping[str, type[HarvesterError]] = {
    error.code: error for error in (Unreachable, CredentialsRefused, ConfigError, StoreError)
}

_WITHDRAWN = Superseded()  # not ended: withdrawn, or left to whoever holds the account next


def encode(report: RunReport) -> str:
    """A report as the database holds it."""
    failed = [
        {
            "series": [failure.slice.series.resource, failure.slice.series.phone, failure.slice.series.period.value],
            "days": [failure.slice.first.isoformat(), failure.slice.last.isoformat()],
            "error": failure.error,
        }
        for failure in report.failed
    ]
    counts = {name: getattr(report, name) for name in ("requests", "rate_limited", "retries")}
    return json.dumps({**counts, "slices": asdict(report.slices), "rows": asdict(report.rows), "failed": failed})


def decode(text: str, report: RunReport) -> None:
    """Fill a report with what `encode` made of another; nothing was reported yet where there is no text."""
    if not text:
        return
    found: dict[str, Any] = json.loads(text)
    report.requests, report.rate_limited, report.retries = (
        found[name] for name in ("requests", "rate_limited", "retries")
    )
    report.slices = SliceCounts(**found["slices"])
    report.rows = RowCounts(**found["rows"])
    report.failed = [_failure(report.account, each) for each in found["failed"]]


def raised(code: str, detail: str) -> HarvesterError:
    """The error that an order ended with, as far as its owner cares."""
    if code == CalendarMismatch.code:
        return CalendarMismatch(detail, setting="", fits=None)
    return _KNOWN.get(code, SourceError)(detail)


class Handover:
    """The backfill's side: leaves an order with whoever holds the account, and follows it.

    Args:
        database: not claimed.
        account: what of it is wanted.
        order: which days.
        report: is brought up to date with what the holder reports.
        today: in the account's zone.
    """

    def __init__(self, database: Database, account: Account, order: Order, report: RunReport, today: date) -> None:
        self.taken_up = False  # somebody works on it
        self._database = database
        self._account = account
        self._order = order
        self._report = report
        self._days = order.days(today)
        self._number: int | None = None

    async def step(self) -> bool:
        """Place the order, or see how far it is. Returns whether it is done.

        Raises:
            HarvesterError: what ended it.
        """
        if self._number is None:
            first, last = self._days
            self._number = await self._database.place_order(
                self._account.name, first=first, last=last, refetch=self._order.refetch, series=series_of(self._account)
            )
            return False
        progress = await self._database.beat_order(self._number)
        if progress is None:  # we slept for so long that it was dropped
            self._number = None
            return False
        self.taken_up = progress.state is not OrderState.PLACED
        decode(progress.report, self._report)
        if progress.state is not OrderState.DONE:
            return False
        if progress.error is not None:
            raise raised(*progress.error)
        return True

    async def withdraw(self) -> None:
        """Leave nothing behind that somebody would work off unasked."""
        number, self._number = self._number, None
        if number is not None:
            with suppress(StoreError):  # then it is dropped a minute after the last beat
                await self._database.withdraw_order(number)


class Desk:
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
        begin: Callable[[BackfillOrder, RunReport], Awaitable[Drain | None]],
        changed: Callable[[], None],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._store = store
        self._begin = begin
        self._changed = changed
        self._pause = pause
        self._orders: dict[int, BackfillOrder] = {}
        self._working: dict[int, asyncio.Task[None]] = {}
        self._drains: dict[int, Drain] = {}
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
        for drain in self._drains.values():
            drain.interrupt()

    async def close(self) -> None:
        """Let what is in flight land. An order that is not finished is taken up again by whoever holds the account."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        for drain in self._drains.values():
            drain.recall()
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
            drain = await self._begin(order, report)
            if drain is None:
                return None
            self._drains[order.id] = drain
            reporting = asyncio.create_task(self._report(order.id, report, drain))
            await drain.run()
        except Interrupted:
            return _WITHDRAWN
        except StoreError:
            raise
        except HarvesterError as error:
            return error
        finally:
            self._drains.pop(order.id, None)
            if reporting is not None:
                reporting.cancel()
                await asyncio.wait({reporting})
                if not reporting.cancelled():
                    reporting.result()  # the database, or a bug
        return _WITHDRAWN if drain.superseded else None

    async def _report(self, number: int, report: RunReport, drain: Drain) -> None:
        wanted = True
        while wanted:
            await self._pause(REPORT)
            try:
                wanted = await self._store.report_order(number, encode(report))
            except StoreError:
                drain.recall()  # what it would bring could not be told, nor a withdrawal be noticed
                raise
        drain.recall()  # withdrawn


def _failure(account: str, found: dict[str, Any]) -> FailedSlice:
    resource, phone, period = found["series"]
    first, last = map(date.fromisoformat, found["days"])
    return FailedSlice(Slice(Series(account, resource, phone, Period(period)), first, last), found["error"])
