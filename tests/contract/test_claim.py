"""Each account has one holder; every other claim is refused."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from harvester.core.model import RowCounts
from harvester.core.period import Period, WeekStart
from harvester.database import dsn
from harvester.errors import ConfigError, StoreError, StoreLost
from harvester.store.account_store import AccountStore
from harvester.store.types import AccountHeld
from tests.support.answers import JANUARY, answer, identity, series
from tests.support.databases import claimed, opened, query
from tests.support.inline_executor import InlineExecutor
from tests.support.postgres import Cluster

ROOT = Path(__file__).parents[2]
HOLD = """
import asyncio, sys
from tests.support.answers import identity
from tests.support.databases import claimed

async def hold():
    async with claimed(sys.argv[1], identity()):
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(hold())
"""


@contextlib.contextmanager
def holding(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the account."""
    with subprocess.Popen([sys.executable, "-c", HOLD, url], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        try:
            yield holder
        finally:
            holder.kill()


async def test_an_account_has_one_holder(store_url: str) -> None:
    async with claimed(store_url, identity()) as store, opened(store_url) as other:
        held = await other.claim(identity())
        assert isinstance(held, AccountHeld)
        assert held.holder.startswith("pid ")
        assert isinstance(await other.claim(identity("second")), AccountStore)
        await store.release()
        assert query(store_url, "SELECT holder FROM account WHERE name = 'main'") == [("",)]
        assert isinstance(await other.claim(identity()), AccountStore)
        with pytest.raises(StoreLost):
            await store.commit([answer(JANUARY, {"calls": [1.0]})], [])


async def test_a_process_cannot_claim_an_account_twice(store_url: str) -> None:
    async with opened(store_url) as database:
        first = await database.claim(identity())
        assert isinstance(first, AccountStore)
        assert await database.claim(identity()) == AccountHeld("this process")
        await first.release()
        await first.release()
        assert isinstance(await database.claim(identity()), AccountStore)


async def test_the_lock_ends_with_a_killed_holder(store_url: str) -> None:
    with holding(store_url) as holder:
        async with opened(store_url) as database:
            held = await database.claim(identity())
            assert isinstance(held, AccountHeld)
            assert held.holder.startswith(f"pid {holder.pid} on ")
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            for _ in range(100):  # the PostgreSQL server notices a moment later
                claim = await database.claim(identity())
                if isinstance(claim, AccountStore):
                    return
                await asyncio.sleep(0.05)
            pytest.fail("the lock outlived its holder")


async def test_a_refused_claim_writes_nothing(store_url: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # SQLite: another program is writing. PostgreSQL: the login may only read.
    monkeypatch.setattr(dsn, "BUSY_TIMEOUT_SECONDS", 0.05)
    standby = store_url
    async with claimed(store_url, identity()), contextlib.AsyncExitStack() as stack:
        if store_url == sqlite_url:
            other = stack.enter_context(contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))))
            other.execute("BEGIN IMMEDIATE")
        else:
            query(store_url, "CREATE ROLE standby LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO standby")
            stack.callback(query, store_url, "DROP OWNED BY standby; DROP ROLE standby")
            standby = store_url.replace("postgres@", "standby@", 1)
        database = await stack.enter_async_context(opened(standby))
        for _ in range(3):
            held = await database.claim(identity())
            assert isinstance(held, AccountHeld)
            assert held.holder.startswith("pid ")


async def test_a_claim_succeeds_again_after_the_server_was_down(postgres: Cluster, postgres_url: str) -> None:
    async with opened(postgres_url) as database:
        assert isinstance(await database.claim(identity()), AccountStore)
        postgres.stop("fast")
        try:
            with pytest.raises(StoreLost):
                await database.claim(identity("second"))
            for _ in range(2):
                with pytest.raises(StoreError, match="cannot connect"):
                    await database.claim(identity())
        finally:
            postgres.start()
        again = await database.claim(identity())
        assert isinstance(again, AccountStore)
        assert await again.commit([answer(JANUARY, {"calls": [1.0]})], []) == RowCounts(new=1)


async def test_a_cancelled_claim_is_released(store_url: str) -> None:
    async with opened(store_url) as database, opened(store_url) as other:
        claim = asyncio.create_task(database.claim(identity()))
        await asyncio.sleep(0)
        claim.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claim
        await database.withdraw_order(0)  # waits behind the cancelled claim
        assert isinstance(await other.claim(identity()), AccountStore)


async def test_another_zone_over_stored_rows_is_refused(store_url: str) -> None:
    moved = identity(timezone="America/Chicago", week_start=WeekStart.MONDAY)
    async with claimed(store_url, identity()) as store:
        await store.release()
        async with claimed(store_url, moved):
            pass  # nothing is stored yet: the zone may still be changed
    async with claimed(store_url, identity()) as store:
        week = answer(date(2024, 1, 7), {"calls": [1.0]}, days=7, of=series(period=Period.WEEK))
        await store.commit([answer(JANUARY, {"calls": [1.0]}), week], [])
    async with opened(store_url) as database:
        with pytest.raises(ConfigError, match="new database") as caught:
            await database.claim(moved)
        assert [problem.partition(":")[0] for problem in caught.value.problems] == [
            "accounts.main.timezone",
            "accounts.main.week_start",
        ]
        assert isinstance(await database.claim(identity(settle_days=9, base_url="https://b.test")), AccountStore)
    assert query(store_url, "SELECT timezone, settle_days FROM account") == [("America/New_York", 9)]


async def test_the_week_start_may_change_while_no_week_is_stored(store_url: str) -> None:
    months = answer(JANUARY, {"calls": [1.0]}, days=31, of=series(period=Period.MONTH))
    async with claimed(store_url, identity()) as store:
        await store.commit([answer(JANUARY, {"calls": [1.0]}), months], [])
    async with opened(store_url) as database:
        with pytest.raises(ConfigError) as caught:
            await database.claim(identity(timezone="America/Chicago", week_start=WeekStart.MONDAY))
        assert len(caught.value.problems) == 1
        assert isinstance(await database.claim(identity(week_start=WeekStart.MONDAY)), AccountStore)
    assert query(store_url, "SELECT timezone, week_start FROM account") == [("America/New_York", "monday")]


async def test_phone_names_follow_the_configuration(store_url: str) -> None:
    for phones in ((("800", "A"),), (("800", "B"), ("ALL", None)), (("ALL", None),), ()):
        async with claimed(store_url, identity(phones=phones)):
            assert sorted(query(store_url, "SELECT phone, name FROM phone")) == sorted(phones)


async def test_the_executor_may_run_inline(store_url: str) -> None:
    async with claimed(store_url, identity(), executor=InlineExecutor()) as store:
        assert await store.commit([answer(JANUARY, {"calls": [1.0]})], []) == RowCounts(new=1)


async def test_a_lost_connection_writes_nothing_until_claimed_again(postgres: Cluster, postgres_url: str) -> None:
    batch = answer(JANUARY, {"calls": [1.0]})
    async with opened(postgres_url) as database:
        store = await database.claim(identity())
        assert isinstance(store, AccountStore)
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'harvester'")
        for _ in range(2):
            with pytest.raises(StoreLost):
                await store.commit([batch], [])
        again = await database.claim(identity())
        assert isinstance(again, AccountStore)
        with pytest.raises(StoreLost):
            await store.commit([batch], [])
        assert await again.commit([batch], []) == RowCounts(new=1)


async def test_a_connection_lost_within_a_transaction_stores_nothing(postgres_url: str) -> None:
    query_ = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'harvester'"
    # The server ends the connection while the rows of the commit arrive.
    async with opened(postgres_url) as database:
        store = await database.claim(identity())
        assert isinstance(store, AccountStore)
        query(
            postgres_url,
            "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END$$",
        )
        query(postgres_url, "CREATE TRIGGER cut AFTER INSERT ON value FOR EACH ROW EXECUTE FUNCTION cut()")
        batch = answer(JANUARY, {"calls": [1.0]})
        with pytest.raises(StoreLost):
            await store.commit([batch], [])
        query(postgres_url, "DROP TRIGGER cut ON value")
        assert query(postgres_url, "SELECT * FROM metric_values") == []
        again = await database.claim(identity())
        assert isinstance(again, AccountStore)
        assert await again.commit([batch], []) == RowCounts(new=1)
        assert query(postgres_url, query_.replace("pg_terminate_backend(pid)", "count(*)")) == [(1,)]


async def test_one_name_in_two_schemas_is_two_accounts(postgres_url: str) -> None:
    async with opened(postgres_url) as one, opened(postgres_url, schema='odd "name"') as other:
        assert isinstance(await one.claim(identity()), AccountStore)
        assert isinstance(await other.claim(identity()), AccountStore)
