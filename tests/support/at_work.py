"""Real throttles and coordinators in a given state, for tests of what is displayed of them."""

from __future__ import annotations

import asyncio
from datetime import date

from harvester.config import Account
from harvester.core import quota
from harvester.core.model import QuotaRecord, RangeLimits, RunReport, Series, Slice
from harvester.core.period import Period
from harvester.core.planning import Plan
from harvester.core.range_limits import RangeLimitTracker
from harvester.runner.coordinator import AccountContext, Coordinator
from harvester.throttle import Throttle

NOW, EPOCH = 1_000.0, 1_700_000_100.0  # one moment: monotonic, and by the host's clock
WINDOW = 900  # seconds
LIMIT = 150  # requests per window
DAY = date(2023, 11, 1)


class StoppedClock:
    def time(self) -> float:
        return EPOCH

    def monotonic(self) -> float:
        return NOW

    async def sleep(self, seconds: float) -> None:
        del seconds
        await asyncio.Event().wait()


class NoLedger:
    async def load(self) -> QuotaRecord | None:
        return None

    async def save(self, record: QuotaRecord) -> None:
        raise AssertionError(record)


def throttle_of(
    *, remaining: int = LIMIT, resets_in: int = 450, reserve: int = 0, server_ahead: float = 0.0, waiting: bool = False
) -> Throttle:
    """A throttle whose window an earlier process began to spend; `waiting`: a worker waits for the next one."""
    window = quota.Quota(limit=LIMIT, window=WINDOW, reserve=reserve, now=NOW, host=EPOCH, fastest=20)
    resets_at = int(EPOCH + server_ahead) + resets_in
    window.restore(QuotaRecord(LIMIT, LIMIT - remaining, remaining, resets_at, server_ahead, EPOCH), NOW, EPOCH)
    waits = asyncio.Event()
    throttle = Throttle(
        clock=StoppedClock(),
        quota=window,
        ledger=NoLedger(),
        slots=asyncio.Semaphore(8),
        on_wait=lambda _: waits.set(),
    )

    async def wait_for_quota() -> None:
        worker = asyncio.ensure_future(throttle.acquire())
        await waits.wait()
        worker.cancel()
        await asyncio.wait({worker})

    if waiting:
        asyncio.run(wait_for_quota())
    return throttle


def coordinator_of(account: Account, report: RunReport, *, outstanding: int, in_flight: int = 0) -> Coordinator:
    """A coordinator with so many slices, `in_flight` of which were taken."""
    context = AccountContext(
        calendar=account.calendar,
        now=lambda: NOW,
        epoch_now=lambda: EPOCH,
        jitter=lambda: 0.0,
        limit_trackers={("performance", Period.DAY): RangeLimitTracker(RangeLimits(accepted=366), 366)},
        emit=lambda _event, /, **_facts: None,
    )
    phones = [str(8005550000 + number) for number in range(outstanding)]
    slices = [Slice(Series(account.name, "performance", phone, Period.DAY), DAY, DAY) for phone in phones]
    coordinator = Coordinator(Plan(slices, 0), context, report)
    for _ in range(in_flight):
        assert coordinator.take() is not None
    return coordinator
