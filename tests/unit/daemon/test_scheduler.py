from __future__ import annotations

from harvester.daemon.scheduler import MAX_SHIFT_SECONDS, RefreshScheduler


class Clocks:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return 100.0

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


async def test_a_stepped_clock_is_a_tick_and_only_while_the_schedule_runs() -> None:
    clocks, ticks = Clocks(), list[None]()
    scheduler = RefreshScheduler({"minute": "0", "hour": "0"}, clocks, lambda: ticks.append(None))
    assert not scheduler.check_clocks()  # not started yet, as in the middle of a reload
    scheduler.start()
    assert not scheduler.check_clocks()
    clocks.now += 2 * MAX_SHIFT_SECONDS
    assert scheduler.check_clocks()
    assert len(ticks) == 1
    scheduler.stop()
    clocks.now += 2 * MAX_SHIFT_SECONDS
    assert not scheduler.check_clocks()
    assert len(ticks) == 1
