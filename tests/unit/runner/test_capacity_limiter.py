"""The places for what is sent and not stored."""

from __future__ import annotations

import asyncio

import pytest

from harvester.runner.capacity_limiter import CapacityLimiter


def test_places_are_counted() -> None:
    capacity = CapacityLimiter(2)
    capacity.take()
    capacity.take()
    assert capacity.free == 0
    with pytest.raises(RuntimeError, match="no room"):
        capacity.take()
    capacity.release()
    assert capacity.free == 1


async def test_all_who_wait_go_on_when_one_place_is_free_and_see_it() -> None:
    capacity = CapacityLimiter(1)
    capacity.take()
    seen: list[int] = []

    async def look() -> None:
        await capacity.wait()
        seen.append(capacity.free)

    looking = [asyncio.create_task(look()) for _ in range(3)]
    await asyncio.sleep(0)
    assert seen == []
    capacity.release()
    await asyncio.gather(*looking)
    assert seen == [1, 1, 1]


async def test_who_comes_too_late_waits_on() -> None:
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
