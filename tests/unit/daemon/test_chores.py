"""Chores: no error ends one silently."""

from __future__ import annotations

import asyncio
from typing import Any

from harvester.daemon.chores import FIRST_PAUSE_SECONDS, MAX_FAILURES, MAX_PAUSE_SECONDS, Chores
from harvester.events import Event


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[Event, dict[str, Any]]] = []
        self.fatal: list[Exception] = []
        self.pauses: list[float] = []

    def emit(self, event: Event, /, **facts: object) -> None:
        self.events.append((event, facts))

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_chore_that_fails_is_logged_and_repeated() -> None:
    log = Log()
    chores = Chores(log.emit, log.fatal.append, log.pause)
    calls = 0

    async def sweep() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise AttributeError("nothing to sweep")

    chores.start(sweep, every=7.0)
    await turns(10)
    assert calls >= 4
    assert chores.alive
    ((event, facts),) = log.events
    assert (event, facts["chore"], str(facts["error"])) == (Event.BUG, "sweep", "nothing to sweep")
    assert log.pauses[:3] == [7.0, FIRST_PAUSE_SECONDS, 7.0]
    assert log.fatal == []
    await chores.stop()


async def test_a_chore_that_never_succeeds_ends_the_process() -> None:
    log = Log()
    chores = Chores(log.emit, log.fatal.append, log.pause)

    def sweep() -> None:
        raise AttributeError

    chores.start(sweep, every=7.0)
    await turns(3 * MAX_FAILURES)
    assert len(log.events) == MAX_FAILURES
    assert len(log.fatal) == 1
    assert not chores.alive
    assert log.pauses == sorted(log.pauses)
    assert max(log.pauses) == MAX_PAUSE_SECONDS
    await chores.stop()


async def test_a_chore_that_waits_does_not_stop_the_others() -> None:
    log = Log()
    chores = Chores(log.emit, log.fatal.append, log.pause)
    done: list[str] = []

    async def wait() -> None:
        await asyncio.Event().wait()

    def sweep() -> None:
        done.append("swept")

    chores.start(wait, every=1.0)
    chores.start(sweep, every=1.0)
    await turns(10)
    assert len(done) > 3
    assert chores.alive
    await chores.stop()
    swept = len(done)
    await turns(5)
    assert len(done) == swept
