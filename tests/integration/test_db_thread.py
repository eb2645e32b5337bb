"""The database thread: work that has begun is finished, also if its caller is cancelled."""

from __future__ import annotations

import asyncio
import threading

import pytest

from harvester.core.model import RowCounts
from harvester.database.db_thread import DatabaseThread
from tests.support.answers import JANUARY, answer, identity
from tests.support.databases import claimed, query
from tests.support.inline_executor import InlineExecutor


async def test_work_of_a_cancelled_caller_is_finished_and_undone() -> None:
    thread = DatabaseThread()
    begun, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def work() -> str:
        begun.set()
        go_on.wait(10)
        done.append("worked")
        return "result"

    task = asyncio.create_task(thread.run(work, undo=lambda result: done.append(f"undid {result}")))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    later = asyncio.create_task(thread.run(lambda: done.append("later")))
    go_on.set()
    await later
    assert done == ["worked", "undid result", "later"]
    thread.close()


async def test_work_of_a_cancelled_caller_is_not_begun() -> None:
    thread = DatabaseThread()
    go_on = threading.Event()
    done: list[str] = []
    first = asyncio.create_task(thread.run(lambda: go_on.wait(10)))
    second = asyncio.create_task(thread.run(lambda: done.append("never"), undo=lambda _: done.append("undone")))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go_on.set()
    assert await first
    await thread.run(lambda: None)
    assert done == []
    thread.close()


@pytest.mark.parametrize("executor", [None, InlineExecutor()])
async def test_an_error_reaches_the_caller(executor: InlineExecutor | None) -> None:
    thread = DatabaseThread(executor)
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert await thread.run(lambda: 7) == 7
    thread.close()


async def test_cancelled_commits_leave_the_connection_usable(store_url: str) -> None:
    async with claimed(store_url, identity()) as store:
        for turns in range(12):
            task = asyncio.create_task(store.commit([answer(JANUARY, {"calls": [float(turns)]})], []))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (await store.commit([answer(JANUARY, {"calls": [99.0]})], [])).rejected == 0
        assert await store.commit([answer(JANUARY, {"calls": [99.0]})], []) == RowCounts(unchanged=1)
    assert query(store_url, "SELECT value FROM metric_values") == [(99.0,)]
