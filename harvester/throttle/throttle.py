"""Throttle: the implementation of the runner's `Gate`.

Workers queue in order of arrival and only the first one waits for the quota, so that no worker is woken in vain. A slot
(one of the process's requests in flight) is taken just before the grant and returned when the body was read; no slot is
taken while waiting for the quota. Every await here may be cancelled: the slot is then returned. A request is granted
only after the last await, so that no grant is lost on the way to the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import isclose, isinf
from typing import Protocol, Self

from aiolimiter import AsyncLimiter

from harvester.clock import LONGEST_SLEEP, Clock
from harvester.core.headers import read_quota_headers
from harvester.core.model import QuotaRecord
from harvester.core.quota import Block, Denied, Quota, Snapshot, Token
from harvester.failpoints import Step, step

MAX_SKEW_SECONDS = 60.0  # between the host's clock and the server's, before it is reported
PACE_TOLERANCE = 0.02  # share by which the learnt pace may change before a limiter is made for it


class QuotaLedger(Protocol):
    """Durable record of one account's quota."""

    async def load(self) -> QuotaRecord | None:
        """Return the record saved last, None if there is none.

        Raises:
            StoreError: the record is not readable.
        """
        ...

    async def save(self, record: QuotaRecord) -> None:
        """Replace the record; it is durable on return.

        Raises:
            StoreError: the record may not be durable.
        """
        ...


class Throttle:
    """Gate of one account (runner.ports.Gate), used between `open` and `close`.

    Args:
        clock: for waits and for the record's time.
        quota: the account's window; used by this throttle alone.
        ledger: stores allowance before it is spent.
        slots: the requests in flight, shared by all accounts of the process.
        on_wait: called with the monotonic moment until which nothing is sent, and with None once sending goes on.
        on_skew: called with `server_ahead` when the host's clock is found to be off by more than a minute.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        quota: Quota,
        ledger: QuotaLedger,
        slots: asyncio.Semaphore,
        on_wait: Callable[[float | None], None] | None = None,
        on_skew: Callable[[float], None] | None = None,
    ) -> None:
        self._clock = clock
        self._quota = quota
        self._ledger = ledger
        self._slots = slots
        self._pace: AsyncLimiter | None = None  # binds to the loop that first uses it
        self._pace_rate = 0.0  # requests per second that it allows
        self._on_wait = on_wait
        self._on_skew = on_skew
        self._skewed = False
        self._first_in_line = asyncio.Lock()
        self._quota_changed = asyncio.Event()
        self._waiting = 0  # workers that want to send
        self._waiting_until: float | None = None
        self._granted_any = False
        self._records: tuple[QuotaRecord | None, ...] = ()  # what is stored, if no other process has written since

    @property
    def waiting_until(self) -> float | None:
        """The monotonic moment until which workers wait for the quota; None while none waits."""
        return self._waiting_until

    def snapshot(self) -> Snapshot:
        """Return the limit, the requests that may still be sent, and the window's end."""
        return self._quota.snapshot(self._clock.monotonic())

    def server_ahead(self) -> float:
        """Return the seconds by which the server's clock is ahead of the host's; 0 before it was heard."""
        clock, now = self._quota.clock, self._clock.monotonic()
        return sum(clock.bounds(now)) / 2 - self._clock.time() if clock.measured else 0.0

    async def open(self, previous: Throttle | None = None) -> None:
        """Continue from the record of an earlier process, or from an earlier throttle of this one.

        Args:
            previous: the account's throttle before the database was lost. It knows what was sent, where the record
                counts all that was granted in advance as sent. It counts only if no other process has written since.

        Raises:
            StoreError: the record is not readable.
        """
        record = await self._ledger.load()
        known = None if previous is None else previous.quota_behind(record)
        if known is not None:
            known.forget_record()
            self._quota, self._granted_any, self._records = known, True, (record,)
        elif record is not None:
            self._quota.restore(record, self._clock.monotonic(), self._clock.time())

    def quota_behind(self, record: QuotaRecord | None) -> Quota | None:
        """Return the quota of this throttle if the record is its own or was deleted, else None."""
        return self._quota if record is None or record in self._records else None

    async def close(self) -> None:
        """Return the unspent allowance. All permits must have been returned.

        Raises:
            StoreError: it could not be stored. It then counts as spent until the window ends, and nothing worse.
        """
        if self._granted_any:  # otherwise the record may be newer than this throttle's knowledge
            await self._save(self._quota.closing())

    async def acquire(self) -> ThrottlePermit:
        """Wait until one request may be sent. Enter the permit at once.

        Raises:
            StoreError: the allowance could not be stored, so nothing may be sent.
        """
        self._waiting += 1
        try:
            async with self._first_in_line:
                while True:
                    granted = await self._attempt()
                    if isinstance(granted, ThrottlePermit):
                        return granted
                    await self._pause(granted.until)
        finally:
            self._waiting -= 1

    async def _attempt(self) -> ThrottlePermit | Denied:
        await self._slots.acquire()
        try:
            await self._pace_request()
            decision = await self._decide()
        except BaseException:
            self._slots.release()
            raise
        if isinstance(decision, Denied):
            self._slots.release()
            return decision
        return ThrottlePermit(self, decision)

    async def _pace_request(self) -> None:
        rate = self._quota.pace.rate
        if isinf(rate):
            return
        if self._pace is None or not isclose(rate, self._pace_rate, rel_tol=PACE_TOLERANCE):
            drained = self._pace is not None  # a new limiter starts with room for one request
            self._pace, self._pace_rate = AsyncLimiter(1, 1 / rate), rate
            if drained:
                await self._pace.acquire()
        await self._pace.acquire()

    async def _decide(self) -> Token | Denied:
        while True:
            self._quota_changed.clear()
            decision = self._quota.acquire(self._clock.monotonic(), self._waiting)
            if isinstance(decision, Block):
                await self._save(decision)
                self._quota.stored(decision)
                continue
            self._granted_any |= isinstance(decision, Token)
            self._report_wait(decision.until if isinstance(decision, Denied) else None)
            return decision

    @step(Step.RESERVE)
    async def _save(self, block: Block) -> None:
        record = self._quota.record(block, self._clock.monotonic(), self._clock.time())
        self._records = (*self._records[:1], record)  # if saving fails, either may be stored
        await self._ledger.save(record)
        self._records = (record,)

    async def _pause(self, until: float) -> None:
        """Sleep until that moment or until the quota has changed, in short sleeps so that a suspend is noticed."""
        await asyncio.sleep(0)  # even if that moment has passed: the caller asks in a loop
        changed = asyncio.ensure_future(self._quota_changed.wait())
        try:
            while not changed.done() and (left := until - self._clock.monotonic()) > 0:
                sleep = asyncio.ensure_future(self._clock.sleep(min(left, LONGEST_SLEEP)))
                try:
                    await asyncio.wait((sleep, changed), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    sleep.cancel()
        finally:
            changed.cancel()

    def _report_wait(self, until: float | None) -> None:
        if until != self._waiting_until:
            self._waiting_until = until
            if self._on_wait is not None:
                self._on_wait(until)

    # Called by the permits

    def answered(self, token: Token, status: int, headers: Mapping[str, str]) -> int:
        """Observe the answer's headers; return the earliest epoch second of the server at which the request left."""
        self._quota.observe(token, self._clock.monotonic(), status, read_quota_headers(headers))
        self._quota_changed.set()
        self._compare_clocks()
        return self._quota.earliest_sent(token)

    def _compare_clocks(self) -> None:
        ahead = self.server_ahead()
        was, self._skewed = self._skewed, abs(ahead) > MAX_SKEW_SECONDS
        if self._skewed and not was and self._on_skew is not None:
            self._on_skew(ahead)

    def unused(self, token: Token) -> None:
        """Take the grant back: nothing was sent."""
        self._quota.unused(token)
        self._quota_changed.set()

    def lost(self, token: Token) -> None:
        """Count the request as sent and unanswered."""
        self._quota.lost(token, self._clock.monotonic())
        self._quota_changed.set()

    def release_slot(self) -> None:
        """Return the slot of a request that has ended."""
        self._slots.release()


class ThrottlePermit:
    """Permission to send one request (runner.ports.Permit)."""

    def __init__(self, throttle: Throttle, token: Token) -> None:
        self._throttle = throttle
        self._token: Token | None = token

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._token is not None:
            self._throttle.lost(self._take())
        self._throttle.release_slot()

    def answered(self, status: int, headers: Mapping[str, str]) -> int:
        """Report the status line and headers (names in lower case); see Permit."""
        return self._throttle.answered(self._take(), status, headers)

    def unused(self) -> None:
        """Report that certainly nothing was sent; see Permit."""
        self._throttle.unused(self._take())

    def _take(self) -> Token:
        token, self._token = self._token, None
        if token is None:
            msg = "the outcome of a permit is reported once"
            raise RuntimeError(msg)
        return token
