"""The throttle in virtual time: it waits, paces, stores allowance first, and may be cancelled at any await."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field

import pytest

from harvester.core.model import QuotaRecord
from harvester.core.quota import BLOCK, Quota
from harvester.errors import StoreError
from harvester.runner.ports import Gate, Permit
from harvester.throttle import Throttle
from tests.support.virtual import Deadlock, VirtualClock, VirtualLoop, run_virtual
from tests.support.window_server import EPOCH, WindowServer

HALF_TRIP = 0.01  # seconds


@dataclass
class MemoryLedger:
    """Ledger in memory whose saves take time."""

    record: QuotaRecord | None = None
    saves: int = 0
    seconds: float = 0.001
    broken: bool = False

    async def load(self) -> QuotaRecord | None:
        return self.record

    async def save(self, record: QuotaRecord) -> None:
        await asyncio.sleep(self.seconds)
        if self.broken:
            raise StoreError
        self.record = record
        self.saves += 1


@dataclass
class ThrottleRig:
    """One account on one server, in one virtual loop."""

    server: WindowServer = field(default_factory=WindowServer)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    rate: float = 10_000
    concurrency: int = 8
    waits: list[float | None] = field(default_factory=list)
    skews: list[float] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop, EPOCH)
        self.slots = asyncio.Semaphore(self.concurrency)
        self.throttle = self.new_throttle()

    def new_throttle(self) -> Throttle:
        now, host = self.clock.monotonic(), self.clock.time()
        return Throttle(
            clock=self.clock,
            quota=Quota(
                limit=self.server.limit, window=self.server.window, reserve=0, now=now, host=host, fastest=self.rate
            ),
            ledger=self.ledger,
            slots=self.slots,
            on_wait=self.waits.append,
            on_skew=self.skews.append,
        )

    def run(self, main: Coroutine[object, object, None]) -> None:
        run_virtual(main, self.loop)

    async def request(self, gate: Gate) -> int:
        permit: Permit = await gate.acquire()
        with permit:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                await asyncio.sleep(HALF_TRIP)
                status, headers = self.server.count(self.loop.time())
                await asyncio.sleep(HALF_TRIP)
                permit.answered(status, headers)
                await asyncio.sleep(HALF_TRIP / 10)  # the body
            finally:
                self.in_flight -= 1
        return status

    async def send(self, requests: int, workers: int = 8, gate: Gate | None = None) -> None:
        left = requests

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                if await self.request(gate or self.throttle) != 200:
                    left += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())

    def free_slots(self) -> int:
        count = 0
        while not self.slots.locked():
            self.slots._value -= 1  # noqa: SLF001 - asyncio offers no other way to count them
            count += 1
        self.slots._value += count  # noqa: SLF001 - as above
        return count


@pytest.mark.parametrize("ahead", [0.0, 2.4, -2.4])
def test_600_requests_end_near_the_earliest_moment(ahead: float) -> None:
    rig = ThrottleRig(WindowServer(window=8, ahead=ahead))
    rig.run(rig.send(600))
    earliest = rig.server.next_roll(0.0) + 2 * 8 + 150 / 8 * 2 * HALF_TRIP
    assert rig.server.refused == []
    assert rig.server.total() == 600
    assert rig.loop.time() <= 1.03 * earliest
    assert rig.most_in_flight == 8


def test_the_rate_is_not_exceeded() -> None:
    rig = ThrottleRig(rate=20)
    rig.run(rig.send(100))
    assert 99 / 20 <= rig.loop.time() <= 101 / 20 + 0.1


@pytest.mark.parametrize(("ahead", "reported"), [(0.0, False), (50.0, False), (90.0, True), (-172_800.0, True)])
def test_a_host_s_clock_that_is_off_is_reported_once(ahead: float, *, reported: bool) -> None:
    rig = ThrottleRig(WindowServer(ahead=ahead))
    assert rig.throttle.server_ahead() == 0, "not heard yet"
    rig.run(rig.send(20, workers=1))
    assert abs(rig.throttle.server_ahead() - ahead) < 1
    assert len(rig.skews) == reported
    assert all(abs(found - ahead) < 1.5 for found in rig.skews)


def test_a_wait_and_its_end_are_reported() -> None:
    rig = ThrottleRig(WindowServer(limit=3))
    rig.run(rig.send(4, workers=1))
    assert rig.throttle.waiting_until is None
    assert rig.waits[-1] is None
    reported = rig.waits[-2]
    assert reported is not None
    assert abs(reported - rig.server.next_roll(0.0)) < 1.5
    assert len(rig.waits) <= 4


def test_a_waiting_worker_holds_no_slot() -> None:
    rig = ThrottleRig(WindowServer(limit=1), concurrency=1)

    async def main() -> None:
        await rig.request(rig.throttle)
        waiting = asyncio.ensure_future(rig.request(rig.throttle))
        await asyncio.sleep(10)
        assert not waiting.done()
        assert rig.free_slots() == 1
        waiting.cancel()

    rig.run(main())


def test_slots_are_shared_by_accounts() -> None:
    rig = ThrottleRig(concurrency=2)
    other = rig.new_throttle()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(rig.send(30))
            group.create_task(rig.send(30, gate=other))

    rig.run(main())
    assert rig.most_in_flight == 2


def test_a_lost_probe_wakes_the_next_worker() -> None:
    rig = ThrottleRig()

    async def main() -> None:
        async def lose() -> None:
            with await rig.throttle.acquire():
                await asyncio.sleep(1)

        lost = asyncio.ensure_future(lose())
        await asyncio.sleep(0.5)
        await rig.send(3)
        await lost

    rig.run(main())
    assert 1 < rig.loop.time() < 1.2


def test_an_unused_permit_costs_nothing() -> None:
    rig = ThrottleRig(WindowServer(limit=2))

    async def main() -> None:
        await rig.request(rig.throttle)
        for _ in range(5):
            with await rig.throttle.acquire() as permit:
                permit.unused()
        await rig.request(rig.throttle)

    rig.run(main())
    assert rig.loop.time() < 1
    assert rig.ledger.saves <= 3


def test_the_outcome_of_a_permit_is_reported_once() -> None:
    rig = ThrottleRig()

    async def main() -> None:
        with await rig.throttle.acquire() as permit:
            permit.unused()
            with pytest.raises(RuntimeError, match="once"):
                permit.answered(200, {})
        assert rig.free_slots() == 8

    rig.run(main())


def test_the_moment_of_sending_is_by_the_servers_clock() -> None:
    rig = ThrottleRig(WindowServer(ahead=5000.0))
    moments = []

    async def main() -> None:
        for _ in range(100):
            with await rig.throttle.acquire() as permit:
                sent = rig.server.clock(rig.loop.time())
                await asyncio.sleep(HALF_TRIP)
                moments.append((permit.answered(*rig.server.count(rig.loop.time())), sent))

    rig.run(main())
    assert all(sent - 2.1 <= moment <= sent for moment, sent in moments)
    assert isinstance(moments[0][0], int)


@pytest.mark.parametrize("steps", range(1, 14))
def test_cancelling_anywhere_leaks_nothing(steps: int) -> None:
    """The worker is cancelled after so many turns of the loop, in whatever await it then is."""
    rig = ThrottleRig(WindowServer(limit=3), rate=100)

    async def main() -> None:
        await rig.request(rig.throttle)
        tasks = [asyncio.ensure_future(rig.request(rig.throttle)) for _ in range(4)]
        for _ in range(steps):
            await asyncio.sleep(0.002 if steps > 6 else 0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert rig.free_slots() == 8
        await rig.send(4)
        assert rig.free_slots() == 8

    rig.run(main())
    now = rig.loop.time()
    assert rig.server.refused == []
    assert now < 2 * 900 + 2
    assert rig.throttle.snapshot().remaining == 3 - rig.server.counts[rig.server.index(now), "us"]


def test_nothing_is_sent_whose_allowance_could_not_be_stored() -> None:
    rig = ThrottleRig(ledger=MemoryLedger(broken=True))

    async def main() -> None:
        with pytest.raises(StoreError):
            await rig.request(rig.throttle)
        assert rig.server.total() == 0
        assert rig.free_slots() == 8
        rig.ledger.broken = False
        await rig.send(20)

    rig.run(main())


def test_the_record_covers_what_was_sent_at_every_moment() -> None:
    rig = ThrottleRig()

    async def watch() -> None:
        while True:
            spent = rig.ledger.record.spent if rig.ledger.record else 0
            assert rig.server.total() <= spent
            await asyncio.sleep(0.001)

    async def main() -> None:
        watcher = asyncio.ensure_future(watch())
        await rig.send(140)
        assert not watcher.done()
        watcher.cancel()

    rig.run(main())
    assert rig.ledger.saves <= 140 / BLOCK + 2


def test_a_clean_end_returns_the_rest_of_the_block() -> None:
    rig = ThrottleRig()

    async def main() -> None:
        await rig.send(42)
        await rig.throttle.close()
        successor = rig.new_throttle()
        await successor.open()
        assert successor.snapshot().remaining == 108
        await rig.send(108, gate=successor)

    rig.run(main())
    assert rig.loop.time() < 5
    assert rig.server.refused == []


def test_an_end_without_a_request_leaves_the_record_alone() -> None:
    rig = ThrottleRig()

    async def main() -> None:
        await rig.send(42)
        await rig.throttle.close()
        before = rig.ledger.record
        successor = rig.new_throttle()
        await successor.open()
        await successor.close()
        assert rig.ledger.record is before

    rig.run(main())


def test_a_restart_with_nothing_left_waits_for_the_window() -> None:
    rig = ThrottleRig(WindowServer(limit=20))

    async def main() -> None:
        await rig.send(20)
        successor = rig.new_throttle()
        await successor.open()
        await rig.send(20, gate=successor)

    rig.run(main())
    assert rig.server.refused == []
    assert sorted(rig.server.counts.values()) == [20, 20]


def test_a_suspend_is_noticed_within_the_longest_sleep() -> None:
    """While the machine is suspended its clock counts on, but the loop's timers stand still."""
    rig = ThrottleRig(WindowServer(limit=1))
    suspended = 0.0

    class SuspendedClock(VirtualClock):
        def monotonic(self) -> float:
            return super().monotonic() + suspended

    rig.clock = SuspendedClock(rig.loop, EPOCH)
    rig.throttle = rig.new_throttle()

    async def main() -> None:
        nonlocal suspended
        await rig.request(rig.throttle)
        waiting = asyncio.ensure_future(rig.throttle.acquire())
        await asyncio.sleep(50)
        suspended = 3600.0
        await asyncio.sleep(15.1)
        assert waiting.done()
        with await waiting as permit:
            permit.unused()

    rig.run(main())


def test_waiting_does_not_spin() -> None:
    rig = ThrottleRig(WindowServer(limit=5))
    calls = 0
    acquire = rig.throttle._quota.acquire  # noqa: SLF001 - counts the calls

    class Counting:
        def __getattr__(self, name: str) -> object:
            return getattr(rig_quota, name)

        def acquire(self, now: float, waiting: int) -> object:
            nonlocal calls
            calls += 1
            return acquire(now, waiting)

    rig_quota = rig.throttle._quota  # noqa: SLF001 - as above
    rig.throttle._quota = Counting()  # type: ignore[assignment]  # noqa: SLF001 - as above
    rig.run(rig.send(20))
    assert calls < 120  # 20 requests, 4 windows, 8 workers


def test_a_virtual_run_in_which_nothing_can_happen_raises() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run_virtual(main())
