"""A database that does not answer: every wait for it ends, with a plain message, and the next claim works again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest

from harvester.core.model import RowCounts
from harvester.database import dsn
from harvester.database.connection import StoreConnection
from harvester.database.dsn import parse
from harvester.database.patience import Patience
from harvester.database.postgres import DeadlineConnection
from harvester.errors import StoreError, StoreLost
from harvester.store.account_store import AccountStore
from harvester.store.reader import Reader
from tests.support.answers import JANUARY, answer, identity
from tests.support.databases import claimed, opened, query
from tests.support.fault_proxy import Timeout, proxied_postgres

if TYPE_CHECKING:
    from sqlalchemy import Connection

SHORT = Patience(statement=5.0, lock=0.3, silence=0.6)
BATCH = answer(JANUARY, {"calls": [1.0]})
OURS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.mark.parametrize("upstream", [False, True])
async def test_a_server_behind_a_deaf_proxy_is_given_up(postgres_url: str, *, upstream: bool) -> None:
    with proxied_postgres(postgres_url) as (proxy, url):
        async with opened(url, patience=SHORT) as database:
            store = await database.claim(identity())
            assert isinstance(store, AccountStore)
            proxy.add(Timeout(upstream=upstream))
            with within(10.0), pytest.raises(StoreLost, match=r"has not answered for 0\.6 s"):
                await store.commit([BATCH], [])
            proxy.heal()
            again = await database.claim(identity())
            assert isinstance(again, AccountStore)
            assert await again.commit([BATCH], []) == RowCounts(new=1)


async def test_calls_that_waited_for_a_failed_attempt_to_connect_share_its_failure(postgres_url: str) -> None:
    with proxied_postgres(postgres_url) as (proxy, url):
        async with opened(f"{url}?connect_timeout=2") as database:
            assert isinstance(await database.claim(identity()), AccountStore)
        proxy.add(Timeout())
        async with opened(f"{url}?connect_timeout=2") as database:
            with within(10.0):
                failures = await asyncio.gather(
                    *(database.claim(identity(f"account{number}")) for number in range(20)), return_exceptions=True
                )
        assert all(isinstance(error, StoreError) for error in failures)
        assert len({str(error) for error in failures}) == 1


def test_a_reader_of_a_deaf_server_gives_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        with within(10.0), pytest.raises(StoreError, match="timeout"):
            Reader(f"postgresql://postgres@127.0.0.1:{port}/db?connect_timeout=2")


async def test_a_locked_table_is_reported_and_the_connection_stays(postgres_url: str) -> None:
    async with claimed(postgres_url, identity(), patience=SHORT) as store:
        with psycopg.connect(postgres_url) as other:
            other.execute("LOCK TABLE value, series, metric, coverage")
            with within(10.0), pytest.raises(StoreError, match="is locked by another program") as caught:
                await store.commit([BATCH], [])
            assert not isinstance(caught.value, StoreLost)
            with within(10.0), pytest.raises(StoreError, match="is locked by another program"):
                Reader(postgres_url, patience=SHORT).accounts()
        assert await store.commit([BATCH], []) == RowCounts(new=1)


async def test_a_stopped_backend_is_given_up(postgres_url: str) -> None:
    async with opened(postgres_url, patience=SHORT) as database:
        store = await database.claim(identity())
        assert isinstance(store, AccountStore)
        ((backend,),) = query(postgres_url, OURS)
        os.kill(backend, signal.SIGSTOP)
        try:
            with within(10.0), pytest.raises(StoreLost, match="has not answered"):
                await store.commit([BATCH], [])
        finally:
            os.kill(backend, signal.SIGCONT)


def test_the_server_ends_idle_sessions_of_writers_only(postgres_url: str) -> None:
    """So a session that this process cannot end does not hold its locks for ever."""
    settings = r"SELECT setting::int FROM pg_settings WHERE name ~ '^(idle|statement|lock).*_timeout$' ORDER BY name"
    found = {}
    for read_only in (False, True):
        with contextlib.closing(parse(postgres_url).connect(read_only=read_only)) as connection:
            assert isinstance(connection, DeadlineConnection)
            found[read_only] = [value for (value,) in connection.execute(settings).fetchall()]
    assert found == {False: [60_000, 120_000, 10_000, 15_000], True: [0, 0, 10_000, 15_000]}


async def test_an_idle_session_that_the_server_ended_is_lost(postgres_url: str) -> None:
    async with opened(postgres_url) as database:
        store = await database.claim(identity())
        assert isinstance(store, AccountStore)
        ((backend,),) = query(postgres_url, OURS)
        query(postgres_url, f"SELECT pg_terminate_backend({backend})")
        with pytest.raises(StoreLost):
            await store.commit([BATCH], [])
        assert isinstance(await database.claim(identity()), AccountStore)


def _be_silent_for_too_long(connection: Connection) -> None:
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 50")
    time.sleep(0.3)
    connection.exec_driver_sql("SELECT 1")


def test_a_session_ended_for_its_silence_is_lost(postgres_url: str) -> None:
    connection = StoreConnection(parse(postgres_url))
    with contextlib.closing(connection):
        with pytest.raises(StoreLost, match="idle-in-transaction"), connection.transaction() as one:
            _be_silent_for_too_long(one)
        assert connection.lost


async def test_cutting_off_ends_a_wait_for_a_locked_file(sqlite_url: str) -> None:
    async with opened(sqlite_url) as database:
        store = await database.claim(identity())
        assert isinstance(store, AccountStore)
        with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            commit = asyncio.create_task(store.commit([BATCH], []))
            await asyncio.sleep(0.5)
            assert 0.2 < database.waits_for < 5.0
            with within(5.0):
                database.cut_off()
                with pytest.raises(StoreError, match="is locked"):
                    await commit
                with pytest.raises(StoreLost, match="this process ends"):
                    await database.claim(identity("second"))


async def test_cutting_off_ends_a_wait_for_the_server(postgres_url: str) -> None:
    async with opened(postgres_url) as database:
        store = await database.claim(identity())
        assert isinstance(store, AccountStore)
        with psycopg.connect(postgres_url) as other:
            other.execute("LOCK TABLE value, series, metric, coverage")
            commit = asyncio.create_task(store.commit([BATCH], []))
            await asyncio.sleep(0.5)
            assert 0.2 < database.waits_for < 5.0
            with within(5.0):
                database.cut_off()
                with pytest.raises(StoreLost):
                    await commit


async def test_a_probe_fails_while_nothing_could_be_written(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsn, "BUSY_TIMEOUT_SECONDS", 0.05)
    async with opened(sqlite_url) as database:
        await database.probe()
        assert database.waits_for == 0.0
        with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="is locked"):
                await database.probe()
        await database.probe()
