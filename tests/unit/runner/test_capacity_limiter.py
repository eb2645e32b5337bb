from __future__ import annotations

import asyncio

import pytest

from harvester.runner.capacity_limiter import CapacityLimiter


def test_places_are_counted() -> None:
    capacity = CapacityLimiter(2)
    capacity.take()
    capacity.take()
    assert capacity.free == 0
    with pytest.raises(RuntimeError, match="no place is free"):
        capacity.take()
    capacity.release()
    assert capacity.free == 1


async def test_a_free_place_wakes_every_waiter_and_all_see_it() -> None:
    capacity = CapacityLimiter(1)
    capacity.take()
    seen: list[int] = []

    async def wait_and_look() -> None:
        await capacity.wait()
        seen.append(capacity.free)

    waiting = [asyncio.create_task(wait_and_look()) for _ in range(3)]
    await asyncio.sleep(0)
    assert seen == []
    capacity.release()
    await asyncio.gather(*waiting)
    assert seen == [1, 1, 1]


async def test_a_waiter_that_comes_too_late_goes_on_waiting() -> None:
    capacity = CapacityLimiter(1)
    capacity.take()
    waiting = asyncio.create_task(capacity.wait())
    await asyncio.sleep(0)
    capacity.release()
    capacity.take()  # before the other one ran
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    capacity.release()
    await waiting
