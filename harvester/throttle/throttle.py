"""Throttle: the gate of one account.

Workers queue in order of arrival and only the first of them waits for the quota, so nobody is woken in vain. A slot
(a place among the requests in flight, over the whole process) is held from just before the grant until the body was
read, never while waiting for the quota. Every await in here may be cancelled: a slot is then given back, and a
request is granted after the last await only, so none can be lost on the way to the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, Self

from aiolimiter import AsyncLimiter

from harvester.clock import LONGEST_SLEEP, Clock
from harvester.core.headers import read_quota_headers
from harvester.core.quota import Block, Denied, Granted, Quota, Snapshot, Token, Unstored
from harvester.failpoints import Step, step

if TYPE_CHECKING:
    from harvester.core.model import QuotaRecord


class QuotaLedger(Protocol):
    """Where one account's quota is written down."""

    async def load(self) -> QuotaRecord | None:
        """What was saved last.

        Raises:
            StoreError: it cannot be read.
        """
        ...

    async def save(self, record: QuotaRecord) -> None:
        """Replace it; it is durable on return.

        Raises:
            StoreError: it is not.
        """
        ...


class Throttle:
    """The quota of one account (runner.ports.Gate). Between `open` and `close`.

    Args:
        clock: what time it is.
        quota: the account's window; nobody else may touch it.
        ledger: where allowance is written before it is spent.
        slots: requests in flight, shared by all accounts of the process.
        rate: requests per second at most.
        on_wait: told the monotonic moment until which nothing is sent, and None once something is again.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        quota: Quota,
        ledger: QuotaLedger,
        slots: asyncio.Semaphore,
        rate: float,
        on_wait: Callable[[float | None], None] | None = None,
    ) -> None:
        self._clock = clock
        self._quota = quota
        self._ledger = ledger
        self._slots = slots
        self._rate = rate
        self._pace: AsyncLimiter | None = None  # binds to the loop that first uses it
        self._on_wait = on_wait
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._waiting = 0  # workers that want to send
        self._waiting_until: float | None = None
        self._granted_any = False

    @property
    def waiting_until(self) -> float | None:
        """The monotonic moment until which workers wait for the quota; None while they don't."""
        return self._waiting_until

    def snapshot(self) -> Snapshot:
        """Limit, what may still be sent, and the window's end."""
        return self._quota.snapshot(self._clock.monotonic())

    async def open(self) -> None:
        """Begin where the process before stopped.

        Raises:
            StoreError: the record cannot be read.
        """
        record = await self._ledger.load()
        if record is not None:
            self._quota.restore(record, self._clock.monotonic(), self._clock.time())

    async def close(self) -> None:
        """Give the unspent allowance back. No permit may be out any more.

        Raises:
            StoreError: it could not be written; it is lost then, and nothing worse.
        """
        if self._granted_any:  # else the record may know more than we do
            await self._save(self._quota.closing())

    async def acquire(self) -> ThrottlePermit:
        """Wait until one request may be sent. Enter the permit at once.

        Raises:
            StoreError: the allowance could not be written, so nothing may be sent.
        """
        self._waiting += 1
        try:
            async with self._turn:
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
            await self._paced()
            answer = await self._ask()
        except BaseException:
            self._slots.release()
            raise
        if isinstance(answer, Denied):
            self._slots.release()
            return answer
        return ThrottlePermit(self, answer.token)

    async def _paced(self) -> None:
        if self._pace is None:
            self._pace = AsyncLimiter(1, 1 / self._rate)
        await self._pace.acquire()

    async def _ask(self) -> Granted | Denied:
        while True:
            self._news.clear()
            answer = self._quota.acquire(self._clock.monotonic(), self._waiting)
            if isinstance(answer, Unstored):
                await self._save(answer.block)
                self._quota.stored(answer.block)
                continue
            self._granted_any |= isinstance(answer, Granted)
            self._report_wait(answer.until if isinstance(answer, Denied) else None)
            return answer

    @step(Step.RESERVE)
    async def _save(self, block: Block) -> None:
        await self._ledger.save(self._quota.record(block, self._clock.monotonic(), self._clock.time()))

    async def _pause(self, until: float) -> None:
        """Until that moment, or until something was observed; in naps, so that a suspend is noticed."""
        news = asyncio.ensure_future(self._news.wait())
        try:
            while not news.done() and (left := until - self._clock.monotonic()) > 0:
                nap = asyncio.ensure_future(self._clock.sleep(min(left, LONGEST_SLEEP)))
                try:
                    await asyncio.wait((nap, news), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    nap.cancel()
        finally:
            news.cancel()

    def _report_wait(self, until: float | None) -> None:
        if until != self._waiting_until:
            self._waiting_until = until
            if self._on_wait is not None:
                self._on_wait(until)

    # For the permits

    def answered(self, token: Token, status: int, headers: Mapping[str, str]) -> int:
        """Headers came; returns the server's epoch second at which the request left, at the earliest."""
        self._quota.observe(token, self._clock.monotonic(), status, read_quota_headers(headers))
        self._news.set()
        return self._quota.earliest_sent(token)

    def unused(self, token: Token) -> None:
        """Nothing was sent."""
        self._quota.unused(token)
        self._news.set()

    def lost(self, token: Token) -> None:
        """No answer came."""
        self._quota.lost(token, self._clock.monotonic())
        self._news.set()

    def freed(self) -> None:
        """A request ended."""
        self._slots.release()


class ThrottlePermit:
    """Leave to send one request now (runner.ports.Permit)."""

    def __init__(self, throttle: Throttle, token: Token) -> None:
        self._throttle = throttle
        self._token: Token | None = token

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._token is not None:
            self._throttle.lost(self._take())
        self._throttle.freed()

    def answered(self, status: int, headers: Mapping[str, str]) -> int:
        """The status line and headers came (names in lower case), the body not yet."""
        return self._throttle.answered(self._take(), status, headers)

    def unused(self) -> None:
        """Nothing was sent, for certain."""
        self._throttle.unused(self._take())

    def _take(self) -> Token:
        token, self._token = self._token, None
        if token is None:
            msg = "a permit tells once what became of its request"
            raise RuntimeError(msg)
        return token
