"""Orders: a backfill hands its work over to the holder of the account."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from datetime import date

import pytest

from harvester.core.model import Series
from harvester.core.period import Period
from harvester.database import dsn
from harvester.database.lock import holder_name
from harvester.errors import StoreError, StoreLost
from harvester.store.account_store import AccountStore
from harvester.store.claims import Database
from harvester.store.orders import BEAT_EVERY_SECONDS, STALE_AFTER_SECONDS
from harvester.store.types import BackfillOrder, OrderProgress, OrderState
from tests.support.answers import JANUARY, identity, series
from tests.support.databases import claimed, opened, query
from tests.support.postgres import Cluster

LAST = date(2024, 3, 31)
WANTED = (series(), series("ALL", "volume", Period.MONTH))


@pytest.fixture
async def holder(store_url: str) -> AsyncIterator[AccountStore]:
    """The store of the process that holds the account, such as the daemon."""
    async with claimed(store_url, identity()) as store:
        yield store


@pytest.fixture
async def beside(holder: AccountStore, store_url: str) -> AsyncIterator[Database]:
    """The database as the backfill opens it."""
    assert not holder.released
    async with opened(store_url) as database:
        yield database


async def placed(database: Database, account: str = "main", *, wanted: tuple[Series, ...] = WANTED) -> int:
    number = await database.place_order(account, first=JANUARY, last=LAST, refetch=True, series=wanted)
    assert number is not None
    return number


def age(url: str, seconds: int) -> None:
    """Make the last heartbeats older by so many seconds."""
    query(url, f"UPDATE backfill_order SET heartbeat_at = heartbeat_at - {seconds}")  # noqa: S608 - a number


def heartbeats(url: str) -> list[int]:
    return [row[0] for row in query(url, "SELECT heartbeat_at FROM backfill_order ORDER BY id")]


def numbers(url: str) -> list[int]:
    return [row[0] for row in query(url, "SELECT id FROM backfill_order ORDER BY id")]


async def test_an_order_reaches_the_holder_unchanged(holder: AccountStore, beside: Database) -> None:
    assert await holder.orders() == []
    first = await placed(beside)
    second = await beside.place_order("main", first=LAST, last=LAST, refetch=False, series=[series("8005550000")])
    assert second is not None
    assert await holder.orders() == [
        BackfillOrder(first, holder_name(), JANUARY, LAST, refetch=True, series=WANTED, report=""),
        BackfillOrder(second, holder_name(), LAST, LAST, refetch=False, series=(series("8005550000"),), report=""),
    ]
    assert await beside.beat_order(first) == OrderProgress(OrderState.PLACED, "", None)


async def test_an_order_for_an_account_never_claimed_is_not_placed(beside: Database, store_url: str) -> None:
    assert await beside.place_order("second", first=JANUARY, last=LAST, refetch=False, series=WANTED) is None
    assert numbers(store_url) == []


async def test_a_holder_cannot_touch_orders_of_another_account(
    holder: AccountStore, beside: Database, store_url: str
) -> None:
    other = await beside.claim(identity("second"))
    assert isinstance(other, AccountStore)
    number = await placed(beside)
    assert await other.orders() == []
    assert await other.report_order(number, "{}") is False
    await other.finish_order(number, "{}")
    age(store_url, STALE_AFTER_SECONDS + 5)
    assert await other.orders() == []
    assert numbers(store_url) == [number]
    assert await holder.orders() == []
    assert numbers(store_url) == []


async def test_progress_and_the_end_reach_the_owner(holder: AccountStore, beside: Database, store_url: str) -> None:
    number = await placed(beside)
    assert await holder.report_order(number, '{"done":1}') is True
    assert await beside.beat_order(number) == OrderProgress(OrderState.WORKING, '{"done":1}', None)
    assert [order.report for order in await holder.orders()] == ['{"done":1}']  # a later holder continues from it

    endless = '{"phones":"' + "8005551234," * 1000 + '"}'
    await holder.finish_order(number, endless, ("credentials", "refused\0: \ud800"))
    error = ("credentials", r"refused\x00: \ud800")
    assert await beside.beat_order(number) == OrderProgress(OrderState.DONE, endless, error)
    assert await holder.orders() == []
    assert await holder.report_order(number, "late") is False
    await holder.finish_order(number, "later still", None)
    assert await beside.beat_order(number) == OrderProgress(OrderState.DONE, endless, error)
    assert numbers(store_url) == [number]


async def test_the_same_report_again_writes_nothing(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsn, "BUSY_TIMEOUT_SECONDS", 0.05)
    async with claimed(sqlite_url, identity()) as store, opened(sqlite_url) as beside:
        number = await placed(beside)
        await store.report_order(number, "1")
        with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")  # while another program writes
            assert await store.report_order(number, "1") is True
            assert [order.report for order in await store.orders()] == ["1"]
            assert await beside.beat_order(number) == OrderProgress(OrderState.WORKING, "1", None)
            with pytest.raises(StoreError):
                await store.report_order(number, "2")
        assert await store.report_order(number, "2") is True
        await beside.withdraw_order(number)
        assert await store.report_order(number, "2") is False


async def test_an_order_can_finish_without_an_error(holder: AccountStore, beside: Database) -> None:
    number = await placed(beside)
    await holder.finish_order(number, "{}", None)
    assert await beside.beat_order(number) == OrderProgress(OrderState.DONE, "{}", None)


async def test_a_withdrawn_order_is_gone_for_owner_and_holder(
    holder: AccountStore, beside: Database, store_url: str
) -> None:
    number = await placed(beside)
    for _ in range(2):
        await beside.withdraw_order(number)
        assert numbers(store_url) == []
    assert await holder.orders() == []
    assert await holder.report_order(number, "{}") is False
    await holder.finish_order(number, "{}")
    assert await beside.beat_order(number) is None


async def test_an_id_is_not_used_twice(beside: Database) -> None:
    number = await placed(beside)
    await beside.withdraw_order(number)
    assert await placed(beside) > number


@pytest.mark.parametrize(
    "seconds", [STALE_AFTER_SECONDS + 5, -STALE_AFTER_SECONDS - 5], ids=["dead", "clock stepped back"]
)
@pytest.mark.parametrize("done", [False, True])
async def test_orders_of_a_dead_backfill_are_deleted(
    holder: AccountStore,
    beside: Database,
    store_url: str,
    seconds: int,
    done: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    number = await placed(beside)
    if done:
        await holder.finish_order(number, "{}")
    age(store_url, seconds)
    alive = await placed(beside)
    assert [order.id for order in await holder.orders()] == [alive]
    assert numbers(store_url) == [alive]
    assert await beside.beat_order(number) is None


async def test_an_order_that_ends_during_a_read_is_not_returned(
    holder: AccountStore, beside: Database, store_url: str
) -> None:
    await placed(beside)
    age(store_url, STALE_AFTER_SECONDS + 5)
    number = await placed(beside)
    reading = asyncio.create_task(holder.orders())
    await asyncio.sleep(0)  # its first step is queued in the database thread
    await holder.finish_order(number, "{}")  # runs after that step, before the stale order is deleted
    assert await reading == []


async def test_an_order_stays_while_its_heartbeat_is_renewed(
    holder: AccountStore, beside: Database, store_url: str
) -> None:
    number = await placed(beside)
    for _ in range(2):
        age(store_url, STALE_AFTER_SECONDS - 10)
        assert [order.id for order in await holder.orders()] == [number]
        assert await beside.beat_order(number) is not None


async def test_a_heartbeat_is_correct_again_after_a_step_of_the_clock(beside: Database, store_url: str) -> None:
    number = await placed(beside)
    (before,) = heartbeats(store_url)
    for seconds in (3600, -3600):
        age(store_url, seconds)
        await beside.beat_order(number)
        (after,) = heartbeats(store_url)
        assert before <= after < before + 600


async def test_reading_a_fresh_order_writes_nothing(holder: AccountStore, beside: Database, store_url: str) -> None:
    number = await placed(beside)
    age(store_url, 2)
    before = heartbeats(store_url)
    await beside.beat_order(number)
    await holder.orders()
    assert heartbeats(store_url) == before
    age(store_url, BEAT_EVERY_SECONDS)
    await beside.beat_order(number)
    assert heartbeats(store_url) >= before


async def test_a_cancelled_call_places_no_order(beside: Database, store_url: str) -> None:
    await beside.withdraw_order(0)  # opens the connection
    placing = asyncio.create_task(placed(beside))
    await asyncio.sleep(0)  # it is queued in the database thread
    placing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await placing
    await beside.withdraw_order(0)  # waits behind it
    assert numbers(store_url) == []


async def test_a_lost_connection_is_replaced_at_the_next_call(postgres: Cluster, postgres_url: str) -> None:
    async with claimed(postgres_url, identity()) as store:
        await store.release()
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'harvester'"
    async with opened(postgres_url) as database:
        number = await placed(database)
        for call in (
            lambda: placed(database),
            lambda: database.beat_order(number),
            lambda: database.withdraw_order(number),
        ):
            postgres.execute(cut)
            with pytest.raises(StoreLost):
                await call()
            assert await database.beat_order(number) is not None
        await database.withdraw_order(number)
        assert numbers(postgres_url) == []


async def test_a_holder_that_released_its_account_cannot_touch_orders(holder: AccountStore, beside: Database) -> None:
    number = await placed(beside)
    await holder.release()
    for call in (holder.orders, lambda: holder.report_order(number, ""), lambda: holder.finish_order(number, "")):
        with pytest.raises(StoreLost):
            await call()
    assert await beside.beat_order(number) == OrderProgress(OrderState.PLACED, "", None)
