"""The throttle in virtual time: it waits, paces, writes allowance down first, and survives being cancelled anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from harvester.core.quota import BLOCK, Quota
from harvester.errors import StoreError
from harvester.throttle import Throttle
from tests.support.virtual import Deadlock, VirtualClock, VirtualLoop, run_virtual
from tests.support.window_server import EPOCH, WindowServer

if TYPE_CHECKING:
    from harvester.core.model import QuotaRecord
    from harvester.runner.ports import Gate, Permit

HALF_TRIP = 0.01  # seconds


@dataclass
class MemoryLedger:
    """Keeps the record; takes its time."""

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
class Bench:
    """One account on one server, in one virtual loop."""

    server: WindowServer = field(default_factory=WindowServer)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    rate: float = 10_000
    places: int = 8
    waits: list[float | None] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop, EPOCH)
        self.slots = asyncio.Semaphore(self.places)
        self.throttle = self.another()

    def another(self) -> Throttle:
        now, host = self.clock.monotonic(), self.clock.time()
        return Throttle(
            clock=self.clock,
            quota=Quota(limit=self.server.limit, window=self.server.window, reserve=0, now=now, host=host),
            ledger=self.ledger,
            slots=self.slots,
            rate=self.rate,
            on_wait=self.waits.append,
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

    async def drain(self, requests: int, workers: int = 8, gate: Gate | None = None) -> None:
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
    bench = Bench(WindowServer(window=8, ahead=ahead))
    bench.run(bench.drain(600))
    earliest = bench.server.next_roll(0.0) + 2 * 8 + 150 / 8 * 2 * HALF_TRIP
    assert bench.server.refused == []
    assert bench.server.total() == 600
    assert bench.loop.time() <= 1.03 * earliest
    assert bench.most_in_flight == 8


def test_the_pace_is_kept() -> None:
    bench = Bench(rate=20)
    bench.run(bench.drain(100))
    assert 99 / 20 <= bench.loop.time() <= 101 / 20 + 0.1


def test_whoever_waits_is_told() -> None:
    bench = Bench(WindowServer(limit=3))
    bench.run(bench.drain(4, workers=1))
    assert bench.throttle.waiting_until is None
    assert bench.waits[-1] is None
    told = bench.waits[-2]
    assert told is not None
    assert abs(told - bench.server.next_roll(0.0)) < 1.5
    assert len(bench.waits) <= 4


def test_a_waiting_worker_holds_no_slot() -> None:
    bench = Bench(WindowServer(limit=1), places=1)

    async def main() -> None:
        await bench.request(bench.throttle)
        waiting = asyncio.ensure_future(bench.request(bench.throttle))
        await asyncio.sleep(10)
        assert not waiting.done()
        assert bench.free_slots() == 1
        waiting.cancel()

    bench.run(main())


def test_slots_are_shared_by_accounts() -> None:
    bench = Bench(places=2)
    other = bench.another()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.drain(30))
            group.create_task(bench.drain(30, gate=other))

    bench.run(main())
    assert bench.most_in_flight == 2


def test_a_lost_probe_wakes_the_next_worker() -> None:
    bench = Bench()

    async def main() -> None:
        async def lose() -> None:
            with await bench.throttle.acquire():
                await asyncio.sleep(1)

        lost = asyncio.ensure_future(lose())
        await asyncio.sleep(0.5)
        await bench.drain(3)
        await lost

    bench.run(main())
    assert 1 < bench.loop.time() < 1.2


def test_an_unused_permit_costs_nothing() -> None:
    bench = Bench(WindowServer(limit=2))

    async def main() -> None:
        await bench.request(bench.throttle)
        for _ in range(5):
            with await bench.throttle.acquire() as permit:
                permit.unused()
        await bench.request(bench.throttle)

    bench.run(main())
    assert bench.loop.time() < 1
    assert bench.ledger.saves <= 3


def test_a_permit_tells_its_end_once() -> None:
    bench = Bench()

    async def main() -> None:
        with await bench.throttle.acquire() as permit:
            permit.unused()
            with pytest.raises(RuntimeError, match="once"):
                permit.answered(200, {})
        assert bench.free_slots() == 8

    bench.run(main())


def test_the_moment_of_sending_is_the_servers() -> None:
    bench = Bench(WindowServer(ahead=5000.0))
    moments = []

    async def main() -> None:
        for _ in range(100):
            with await bench.throttle.acquire() as permit:
                sent = bench.server.clock(bench.loop.time())
                await asyncio.sleep(HALF_TRIP)
                moments.append((permit.answered(*bench.server.count(bench.loop.time())), sent))

    bench.run(main())
    assert all(sent - 2.1 <= moment <= sent for moment, sent in moments)
    assert isinstance(moments[0][0], int)


@pytest.mark.parametrize("steps", range(1, 14))
def test_cancelling_anywhere_leaks_nothing(steps: int) -> None:
    """The worker is cancelled after so many turns of the loop, in whatever await it then is."""
    bench = Bench(WindowServer(limit=3), rate=100)

    async def main() -> None:
        await bench.request(bench.throttle)
        tasks = [asyncio.ensure_future(bench.request(bench.throttle)) for _ in range(4)]
        for _ in range(steps):
            await asyncio.sleep(0.002 if steps > 6 else 0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert bench.free_slots() == 8
        await bench.drain(4)
        assert bench.free_slots() == 8

    bench.run(main())
    now = bench.loop.time()
    assert bench.server.refused == []
    assert now < 2 * 900 + 2
    assert bench.throttle.snapshot().remaining == 3 - bench.server.counts[bench.server.index(now), "us"]


def test_nothing_is_sent_that_could_not_be_written_down() -> None:
    bench = Bench(ledger=MemoryLedger(broken=True))

    async def main() -> None:
        with pytest.raises(StoreError):
            await bench.request(bench.throttle)
        assert bench.server.total() == 0
        assert bench.free_slots() == 8
        bench.ledger.broken = False
        await bench.drain(20)

    bench.run(main())


def test_the_record_covers_what_was_sent_at_every_moment() -> None:
    bench = Bench()

    async def watch() -> None:
        while True:
            spent = bench.ledger.record.spent if bench.ledger.record else 0
            assert bench.server.total() <= spent
            await asyncio.sleep(0.001)

    async def main() -> None:
        watcher = asyncio.ensure_future(watch())
        await bench.drain(140)
        assert not watcher.done()
        watcher.cancel()

    bench.run(main())
    assert bench.ledger.saves <= 140 / BLOCK + 2


def test_a_clean_end_gives_the_rest_of_the_block_back() -> None:
    bench = Bench()

    async def main() -> None:
        await bench.drain(42)
        await bench.throttle.close()
        heir = bench.another()
        await heir.open()
        assert heir.snapshot().remaining == 108
        await bench.drain(108, gate=heir)

    bench.run(main())
    assert bench.loop.time() < 5
    assert bench.server.refused == []


def test_an_end_without_a_request_leaves_the_record_alone() -> None:
    bench = Bench()

    async def main() -> None:
        await bench.drain(42)
        await bench.throttle.close()
        before = bench.ledger.record
        heir = bench.another()
        await heir.open()
        await heir.close()
        assert bench.ledger.record is before

    bench.run(main())


def test_a_restart_with_nothing_left_waits_for_the_window() -> None:
    bench = Bench(WindowServer(limit=20))

    async def main() -> None:
        await bench.drain(20)
        heir = bench.another()
        await heir.open()
        await bench.drain(20, gate=heir)

    bench.run(main())
    assert bench.server.refused == []
    assert sorted(bench.server.counts.values()) == [20, 20]


def test_a_suspend_is_noticed_within_a_nap() -> None:
    """The machine's clock goes on while it sleeps, but the loop's timers stand still."""
    bench = Bench(WindowServer(limit=1))
    slept = 0.0

    class Sleepy(VirtualClock):
        def monotonic(self) -> float:
            return super().monotonic() + slept

    bench.clock = Sleepy(bench.loop, EPOCH)
    bench.throttle = bench.another()

    async def main() -> None:
        nonlocal slept
        await bench.request(bench.throttle)
        waiting = asyncio.ensure_future(bench.throttle.acquire())
        await asyncio.sleep(50)
        slept = 3600.0
        await asyncio.sleep(15.1)
        assert waiting.done()
        with await waiting as permit:
            permit.unused()

    bench.run(main())


def test_waiting_spins_not() -> None:
    bench = Bench(WindowServer(limit=5))
    asked = 0
    acquire = bench.throttle._quota.acquire  # noqa: SLF001 - counts how often it is asked

    class Counting:
        def __getattr__(self, name: str) -> object:
            return getattr(bench_quota, name)

        def acquire(self, now: float, waiting: int) -> object:
            nonlocal asked
            asked += 1
            return acquire(now, waiting)

    bench_quota = bench.throttle._quota  # noqa: SLF001 - as above
    bench.throttle._quota = Counting()  # type: ignore[assignment]  # noqa: SLF001 - as above
    bench.run(bench.drain(20))
    assert asked < 120  # 20 requests, 4 windows, 8 workers


def test_a_virtual_run_in_which_nothing_can_happen_says_so() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run_virtual(main())
