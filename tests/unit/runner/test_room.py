"""The places for what is sent and not stored."""

from __future__ import annotations

import asyncio

import pytest

from harvester.runner.room import Room


def test_places_are_counted() -> None:
    room = Room(2)
    room.take()
    room.take()
    assert room.free == 0
    with pytest.raises(RuntimeError, match="no room"):
        room.take()
    room.release()
    assert room.free == 1


async def test_all_who_wait_go_on_when_one_place_is_free_and_see_it() -> None:
    room = Room(1)
    room.take()
    seen: list[int] = []

    async def look() -> None:
        await room.wait()
        seen.append(room.free)

    looking = [asyncio.create_task(look()) for _ in range(3)]
    await asyncio.sleep(0)
    assert seen == []
    room.release()
    await asyncio.gather(*looking)
    assert seen == [1, 1, 1]


async def test_who_comes_too_late_waits_on() -> None:
    room = Room(1)
    room.take()
    waiting = asyncio.create_task(room.wait())
    await asyncio.sleep(0)
    room.release()
    room.take()  # before the other one ran
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    room.release()
    await waiting
