"""The data that `status`, `plan` and `export` read, while a process holds the account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest

from harvester.core.model import FailedSlice, RangeLimits, Slice, Stretch
from harvester.core.period import Period
from harvester.store.reader import Reader
from harvester.store.schema import HEAD
from tests.support.answers import JANUARY, answer, at, identity, series
from tests.support.databases import claimed

OTHER = series("8005550000")
FAILED = FailedSlice(Slice(OTHER, date(2024, 2, 1), date(2024, 2, 9)), "rejected", "no number of yours")


@pytest.fixture
async def url(store_url: str) -> AsyncIterator[str]:
    """A database in which a process holds an account."""
    running = at(JANUARY + timedelta(1), 12)
    async with claimed(store_url, identity(), now=lambda: 1_704_200_000.0) as store:
        await store.commit(
            [
                answer(JANUARY, {"calls": [5.0, 2.5], "js_errors": [None, 1.0]}, sent_at=running),
                answer(JANUARY, {"calls": [9.0]}, of=series("ALL")),
                answer(JANUARY, {"calls": [7.0]}, of=OTHER),
                answer(date(2024, 1, 7), {"calls": [70.0]}, days=7, of=series(period=Period.WEEK)),
            ],
            [FAILED],
        )
        await store.save_range_limits(("performance", Period.DAY), RangeLimits(31))
        yield store_url


async def test_each_series_is_read_with_its_state(url: str) -> None:
    with Reader(url) as reader:
        assert reader.schema_version == HEAD
        (account,) = reader.accounts()
    assert (account.identity, account.state, account.quota) == (identity(), "ok", None)
    assert account.holder.startswith("pid ")
    assert account.range_limits == {("performance", Period.DAY): RangeLimits(31)}
    found = {(one.series.phone, one.series.period): one for one in account.series}
    assert len(found) == 4
    one = found["8005551234", Period.DAY]
    second = JANUARY + timedelta(1)
    assert (one.first, one.last, one.absent, one.failed) == (JANUARY, second, 0, [])
    assert one.coverage == [Stretch(JANUARY, second, second, -1)]
    (failed,) = found["8005550000", Period.DAY].failed
    assert failed == (OTHER, FAILED.slice.first, FAILED.slice.last, FAILED.code, FAILED.error, 1_704_200_000, 1)


async def test_a_reader_reads_one_snapshot(url: str) -> None:
    with Reader(url) as reader:
        before = reader.accounts()
        async with claimed(url, identity("second")) as store:
            await store.commit([answer(JANUARY, {"calls": [1.0]}, of=series(account="second"))], [])
        assert reader.accounts() == before
    with Reader(url) as reader:
        (second,) = [one for one in reader.accounts() if one.identity.name == "second"]
    assert [one.series for one in second.series] == [series(account="second")]


async def test_export_returns_complete_single_numbers_in_order(url: str) -> None:
    with Reader(url) as reader:
        found = reader.export("performance", period=Period.DAY)
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    assert found.columns[:8] == (
        *("account", "phone", "phone_name", "period", "epoch", "period_start", "local_date", "calls"),
    )
    assert [(row["phone"], row["local_date"], row["calls"]) for row in rows] == [
        ("8005550000", "2024-01-01", 7.0),
        ("8005551234", "2024-01-01", 5.0),
    ]
    assert [(row["complete"], row["final"]) for row in rows] == [(True, True), (True, False)]
    assert (rows[1]["phone_name"], rows[1]["js_errors"]) == ("Front desk", None)
    assert (rows[1]["period_start"], rows[1]["fetched_at"]) == ("2024-01-01 05:00:00", "2024-01-02 17:00:00")


async def test_export_applies_filters(url: str) -> None:
    def phones(**filters: object) -> list[tuple[str, str]]:
        found = reader.export("performance", **{"period": Period.DAY, **filters})  # type: ignore[arg-type]
        return [(row[1], row[6]) for row in found.rows]

    second = JANUARY + timedelta(1)
    with Reader(url) as reader:
        assert phones(phones=["ALL"]) == [("ALL", "2024-01-01")]
        assert phones(first=second, complete_only=False) == [("8005551234", "2024-01-02")]
        assert phones(last=JANUARY, phones=["8005551234"], complete_only=False) == [("8005551234", "2024-01-01")]
        assert phones(period=Period.WEEK) == [("8005551234", "2024-01-07")]
        assert phones(accounts=["nobody"]) == []
        assert len(phones(accounts=["main"])) == 2
