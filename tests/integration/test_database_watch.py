"""The daemon's check of the database: a call that is not answered, and a file that cannot be written to."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import Any

import psycopg
import pytest

from harvester.daemon import database_watch
from harvester.daemon.database_watch import DatabaseWatch
from harvester.database import dsn
from harvester.errors import StoreError
from harvester.events import Event
from tests.support.databases import opened


class Log(list[tuple[Event, dict[str, Any]]]):
    def emit(self, event: Event, /, **facts: object) -> None:
        self.append((event, facts))


async def test_a_call_that_is_not_answered_is_reported_once(sqlite_url: str) -> None:
    log = Log()
    async with opened(sqlite_url) as database:
        watch = DatabaseWatch(database, log.emit, overdue=0.3)
        await watch.probe()
        watch.look()
        assert watch.problem == ""
        with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            probe = asyncio.create_task(watch.probe())
            await asyncio.sleep(0.5)
            for _ in range(3):
                watch.look()
            assert "has not answered for" in watch.problem
            assert [event for event, _ in log] == [Event.NO_DATABASE]
            assert "nothing more is requested" in log[0][1]["error"]
        await probe
        watch.look()
        assert watch.problem == ""
        assert [event for event, _ in log] == [Event.NO_DATABASE, Event.DATABASE_BACK]


async def test_a_probe_that_fails_is_a_problem_until_one_succeeds(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dsn, "BUSY_TIMEOUT_SECONDS", 0.05)
    async with opened(sqlite_url) as database:
        watch = DatabaseWatch(database, Log().emit)
        await watch.probe()
        with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            await watch.probe()
            assert "locked by another program" in watch.problem
        await watch.probe()
        assert watch.problem == ""


async def test_a_call_that_runs_beyond_every_deadline_means_a_process_that_does_not_work(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_watch, "STUCK_SECONDS", 0.3)
    async with opened(postgres_url) as database:
        watch = DatabaseWatch(database, Log().emit)
        await watch.probe()
        assert watch.works
        with psycopg.connect(postgres_url) as other:
            other.execute("LOCK TABLE account")
            waiting = asyncio.create_task(database.withdraw_order(1))
            await asyncio.sleep(0.5)
            assert watch.works  # it waits for nothing that is locked
            await waiting
            other.execute("LOCK TABLE backfill_order")
            waiting = asyncio.create_task(database.withdraw_order(1))
            await asyncio.sleep(0.6)
            assert not watch.works
            database.cut_off()
            with pytest.raises(StoreError):
                await waiting
        assert watch.works
