"""The ledgers and ids in memory agree with the tables, also after a failed transaction."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from harvester.core.model import FailedSlice, RowCounts
from harvester.errors import StoreError
from tests.support.answers import JANUARY, answer, at, identity, series
from tests.support.databases import claimed, query

STORED = range(10, 13)  # days of January
REQUESTED = [
    (9, 1),
    (9, 2),
    (8, 7),
    (10, 3),
    (11, 1),
    (12, 1),
    (12, 3),
    (13, 1),
    (1, 3),
    (20, 2),
]  # day of January, days


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("first", "days"), REQUESTED)
async def test_stored_values_are_found(store_url: str, first: int, days: int, *, restarted: bool) -> None:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(claimed(store_url, identity()))
        await store.commit([answer(JANUARY + timedelta(STORED[0] - 1), {"calls": [1.0] * len(STORED)})], [])
        if restarted:
            await stack.aclose()
            store = await stack.enter_async_context(claimed(store_url, identity()))
        overlapping = answer(
            JANUARY + timedelta(first - 1), {"calls": [2.0] * days}, sent_at=at(JANUARY + timedelta(90))
        )
        counts = await store.commit([overlapping], [])
    changed = len(set(STORED) & set(range(first, first + days)))
    assert counts == RowCounts(new=days - changed, changed=changed)
    (sums,) = query(store_url, "SELECT count(*), sum(value) FROM metric_values")
    assert sums == (len(STORED) + days - changed, len(STORED) + 2 * days - changed)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("day", [5, 15])
async def test_an_absent_period_is_found(store_url: str, day: int, *, restarted: bool) -> None:
    absent, between = [JANUARY + timedelta(each - 1) for each in (5, 15)], JANUARY + timedelta(9)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(claimed(store_url, identity()))
        await store.commit([answer(each, {}, absent=[each]) for each in absent], [])
        await store.commit([answer(between, {"calls": [1.0]})], [])
        if restarted:
            await stack.aclose()
            store = await stack.enter_async_context(claimed(store_url, identity()))
        await store.commit([answer(JANUARY + timedelta(day - 1), {"calls": [1.0]})], [])
    (left,) = {5, 15} - {day}
    assert [str(each) for (each,) in query(store_url, "SELECT day FROM absence")] == [f"2024-01-{left:02}"]


def refuse_to_commit(url: str) -> None:
    """Make each transaction that covers days fail at its COMMIT, not before."""
    query(url, "CREATE TABLE late (id INTEGER REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED)")
    if url.startswith("sqlite:"):
        query(url, "CREATE TRIGGER late AFTER INSERT ON coverage BEGIN INSERT INTO late VALUES (-1); END")
        return
    body = "BEGIN INSERT INTO late VALUES (-1); RETURN NULL; END"
    query(url, f"CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
    query(url, "CREATE TRIGGER late AFTER INSERT ON coverage EXECUTE FUNCTION late()")


def allow_to_commit(url: str) -> None:
    query(url, "DROP TRIGGER late" if url.startswith("sqlite:") else "DROP TRIGGER late ON coverage")


async def test_the_same_answers_are_stored_after_a_failed_commit(store_url: str) -> None:
    batch = answer(JANUARY, {"calls": [1.0, 2.0]})
    failure = FailedSlice(answer(JANUARY + timedelta(40), {"calls": [1.0]}).slice, "rejected", "no")
    async with claimed(store_url, identity()) as store:
        refuse_to_commit(store_url)
        with pytest.raises(StoreError, match=r"(?i)foreign key"):
            await store.commit([batch], [failure])
        assert query(store_url, "SELECT count(*) FROM value") == [(0,)]
        allow_to_commit(store_url)
        assert await store.commit([batch], [failure]) == RowCounts(new=2)
        assert [(one.first, one.last) for one in (await store.coverage([series()]))[series()]] == [
            (batch.slice.first, batch.slice.last)
        ]
        assert len(await store.failed([series()])) == 1


async def test_a_plan_starts_from_the_tables(store_url: str) -> None:
    batch = answer(JANUARY, {"calls": [1.0, 2.0]})
    async with claimed(store_url, identity()) as store:
        await store.commit([batch], [])
        query(store_url, "DELETE FROM coverage")  # as a user may do to have it fetched again
        assert (await store.coverage([series()]))[series()] == []
        assert await store.commit([batch], []) == RowCounts(unchanged=2)
        assert len((await store.coverage([series()]))[series()]) == 1
