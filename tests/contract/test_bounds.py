"""What an API sends without end fills neither the metrics nor the rejects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from harvester.core.model import Reject, RowCounts
from harvester.store import ids, values
from harvester.store.account_store import AccountStore
from harvester.store.values import MAX_STORED_REJECTS, REJECT_AGE
from tests.support.answers import JANUARY, answer, at, identity, series
from tests.support.databases import claimed, opened, query

LEARNT = "SELECT count(*) FROM metric WHERE unit IS NULL"
BOUND = 10


@pytest.fixture(autouse=True)
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ids, values):
        monkeypatch.setattr(module, "MAX_LEARNT_METRICS", BOUND)


def names(count: int, first: int = 0) -> dict[str, Sequence[float]]:
    return {f"m{number:03}": [1.0] for number in range(first, first + count)}


async def test_an_account_learns_no_more_than_so_many_metrics(store_url: str) -> None:
    async with claimed(store_url, identity()) as store:
        assert await store.commit([answer(JANUARY, names(BOUND - 2))], []) == RowCounts(new=BOUND - 2)
        counts = await store.commit([answer(JANUARY, {"calls": [1.0], **names(5, BOUND - 2)})], [])
        assert counts == RowCounts(new=3, rejected=3, absent=0)
        for day in range(1, 5):
            await store.commit([answer(JANUARY + timedelta(day), {"calls": [1.0], **names(5, 100 * day)})], [])
    assert query(store_url, LEARNT) == [(BOUND,)]
    assert query(store_url, "SELECT count(*) FROM metric_values WHERE metric = 'calls'") == [(5,)]
    rows = query(store_url, "SELECT metric, value, reason FROM reject ORDER BY metric")
    assert rows[0] == ("m010", "1 values", "one of more than 10 unknown metrics of the account")
    assert len(rows) == 3 + 4 * 5


async def test_the_bound_holds_after_a_restart_and_for_each_account(store_url: str) -> None:
    for _ in range(2):
        async with claimed(store_url, identity()) as store:
            await store.commit([answer(JANUARY, names(BOUND + 3))], [])
    assert query(store_url, LEARNT) == [(BOUND,)]
    async with claimed(store_url, identity("second")) as store:
        one = series(account="second")
        counts = await store.commit([answer(JANUARY, names(BOUND + 3, 500), of=one)], [])
        assert counts == RowCounts(new=BOUND, rejected=3)
        # A metric that is stored already is no new one.
        assert await store.commit([answer(JANUARY, names(1), of=one)], []) == RowCounts(new=1)
    assert query(store_url, LEARNT) == [(2 * BOUND,)]


async def test_a_refused_metric_is_reported_once_a_day(store_url: str) -> None:
    now = [float(at(JANUARY))]
    reported: list[Sequence[str]] = []
    async with opened(store_url, now=lambda: now[0]) as database:
        store = await database.claim(identity())
        assert isinstance(store, AccountStore)
        store.on_refused_metrics = reported.append
        for count in (BOUND, BOUND + 1, BOUND + 2, BOUND + 3):
            await store.commit([answer(JANUARY, names(count))], [])
        assert reported == [["m010"]]
        now[0] += 86_400
        await store.commit([answer(JANUARY, names(BOUND + 2))], [])
        assert reported == [["m010"], ["m010", "m011"]]


async def test_a_defect_whose_text_differs_each_time_does_not_grow(store_url: str) -> None:
    sent_at = at(JANUARY + timedelta(10))
    async with claimed(store_url, identity()) as store:
        for number in range(6):
            rejects = [
                Reject("generated_at", "", f"{number} {one}", "no number") for one in range(MAX_STORED_REJECTS // 2)
            ]
            batch = answer(JANUARY, {"calls": [1.0]}, rejects=rejects, sent_at=sent_at + number)
            assert (await store.commit([batch], [])).rejected == len(rejects)
        flood = [Reject("x", "", str(one), "no number") for one in range(3 * MAX_STORED_REJECTS)]
        other = answer(JANUARY, {"calls": [1.0]}, rejects=flood, of=series("ALL"))
        assert (await store.commit([other], [])).rejected == len(flood)
    rows = query(store_url, "SELECT series_id, count(*), min(seen_at), max(seen_at) FROM reject GROUP BY 1 ORDER BY 1")
    assert [row[1] for row in rows] == [MAX_STORED_REJECTS, MAX_STORED_REJECTS]
    assert rows[0][2:] == (sent_at + 4, sent_at + 5), "the newest are stored"


async def test_old_rejects_are_deleted(store_url: str) -> None:
    rejects = [Reject("calls", "1", "x", "no number")]
    async with claimed(store_url, identity()) as store:
        await store.commit([answer(JANUARY, {"calls": [1.0]}, rejects=rejects)], [])
        later = at(JANUARY + timedelta(10)) + REJECT_AGE + 86_400
        newer = answer(JANUARY, {"calls": [1.0]}, rejects=[Reject("calls", "2", "x", "no number")], sent_at=later)
        await store.commit([newer], [])
        assert query(store_url, "SELECT timestamp FROM reject") == [("2",)]
    async with claimed(store_url, identity()):  # years later
        assert query(store_url, "SELECT timestamp FROM reject") == []
