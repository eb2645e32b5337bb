"""Storage of answers, in SQLite and PostgreSQL: complete, once, and without loss."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest

from harvester.core.absence import AbsentSpan
from harvester.core.coverage import final_spans
from harvester.core.model import FailedSlice, QuotaRecord, RangeLimits, Reject, RowCounts, Slice
from harvester.core.period import Period
from harvester.store.account_store import AccountStore
from harvester.store.reader import Reader
from harvester.store.types import RecordedState
from tests.support.answers import CALENDAR, JANUARY, SETTLE_DAYS, answer, at, identity, series
from tests.support.databases import claimed, query

SECOND = JANUARY + timedelta(1)
THIRD = JANUARY + timedelta(2)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[AccountStore]:
    async with claimed(store_url, identity(), now=lambda: 1_704_200_000.9) as one:
        yield one


def calls(url: str) -> list[tuple[str, float | None]]:
    rows = query(url, "SELECT local_date, value FROM metric_values WHERE metric = 'calls' ORDER BY epoch")
    return [(str(day), number) for day, number in rows]


async def test_new_values_are_stored_with_their_period(store: AccountStore, store_url: str) -> None:
    counts = await store.commit([answer(JANUARY, {"calls": [5.0, None], "average_page_load": [0.25, 1e300]})], [])
    assert counts == RowCounts(new=4)
    rows = query(
        store_url,
        "SELECT account, resource, phone, period, epoch, period_start, local_date, metric, value, complete, final,"
        " fetched_at FROM metric_values ORDER BY metric, epoch",
    )
    assert [row[:5] + row[7:11] for row in rows] == [
        ("main", "performance", "8005551234", "day", 1704085200, "average_page_load", 0.25, True, True),
        ("main", "performance", "8005551234", "day", 1704171600, "average_page_load", 1e300, True, True),
        ("main", "performance", "8005551234", "day", 1704085200, "calls", 5.0, True, True),
        ("main", "performance", "8005551234", "day", 1704171600, "calls", None, True, True),
    ]
    assert str(rows[0][5]).startswith("2024-01-01 05:00:00")
    assert str(rows[0][6]) == "2024-01-01"
    assert str(rows[0][11]).startswith("2024-01-12 17:00:00")


async def test_the_same_answer_again_changes_nothing(store: AccountStore, store_url: str) -> None:
    first = answer(JANUARY, {"calls": [5.0, None, 0.0]})
    await store.commit([first], [])
    before = query(store_url, "SELECT * FROM value ORDER BY day")
    later = answer(JANUARY, {"calls": [5.0, None, 0.0]}, sent_at=first.sent_at + 86400)
    assert await store.commit([first, later], []) == RowCounts(unchanged=6)
    assert query(store_url, "SELECT * FROM value ORDER BY day") == before
    assert query(store_url, "SELECT * FROM revisions") == []


async def test_new_values_are_added_to_stored_ones(store: AccountStore, store_url: str) -> None:
    await store.commit([answer(SECOND, {"calls": [2.0]})], [])
    counts = await store.commit([answer(JANUARY, {"calls": [1.0, 2.0, 3.0], "js_errors": [0.0, 0.0, 1.0]})], [])
    assert counts == RowCounts(new=5, unchanged=1)
    assert calls(store_url) == [("2024-01-01", 1.0), ("2024-01-02", 2.0), ("2024-01-03", 3.0)]


async def test_answers_of_one_series_in_one_transaction_apply_in_their_order(
    store: AccountStore, store_url: str
) -> None:
    first = answer(JANUARY, {"calls": [1.0, 2.0]})
    other = answer(JANUARY, {"calls": [9.0]}, of=series(phone="8005550002"))
    later = answer(SECOND, {"calls": [3.0, 4.0]}, sent_at=at(date(2024, 3, 1)))
    assert await store.commit([first, other, later], []) == RowCounts(new=4, changed=1)
    assert sorted(calls(store_url)) == [
        ("2024-01-01", 1.0),
        ("2024-01-01", 9.0),
        ("2024-01-02", 3.0),
        ("2024-01-03", 4.0),
    ]
    assert query(store_url, "SELECT old_value, new_value FROM revisions") == [(2.0, 3.0)]


@pytest.mark.parametrize(("old", "new"), [(5.0, 6.0), (5.0, None), (None, 5.0)])
async def test_a_complete_value_that_changes_is_a_revision(
    store: AccountStore, store_url: str, old: float | None, new: float | None
) -> None:
    await store.commit([answer(JANUARY, {"calls": [old, 1.0]})], [])
    changed = answer(JANUARY, {"calls": [new, 1.0]}, sent_at=at(date(2024, 3, 1)))
    assert await store.commit([changed], []) == RowCounts(changed=1, unchanged=1)
    rows = query(
        store_url, "SELECT account, resource, phone, period, epoch, metric, old_value, new_value FROM revisions"
    )
    assert rows == [("main", "performance", "8005551234", "day", 1704085200, "calls", old, new)]
    assert [str(at)[:19] for (at,) in query(store_url, "SELECT changed_at FROM revisions")] == ["2024-03-01 17:00:00"]
    fetched = query(store_url, "SELECT fetched_at FROM metric_values ORDER BY epoch")
    assert [str(at)[:10] for (at,) in fetched] == ["2024-03-01", "2024-01-12"]
    assert await store.commit([changed], []) == RowCounts(unchanged=2)
    assert len(query(store_url, "SELECT * FROM revisions")) == 1


async def test_a_value_of_a_running_period_changes_without_a_revision(store: AccountStore, store_url: str) -> None:
    await store.commit([answer(JANUARY, {"calls": [5.0]}, sent_at=at(JANUARY, 23))], [])
    assert query(store_url, "SELECT complete, final FROM metric_values") == [(False, False)]
    await store.commit([answer(JANUARY, {"calls": [7.0]}, sent_at=at(SECOND, 0))], [])
    assert query(store_url, "SELECT complete, final FROM metric_values") == [(True, False)]
    assert query(store_url, "SELECT * FROM revisions") == []


async def test_a_value_confirmed_after_its_period_is_revised_by_another(store: AccountStore, store_url: str) -> None:
    for day in (JANUARY, date(2024, 2, 1)):  # the second answer changes nothing, but contains the value
        await store.commit([answer(JANUARY, {"calls": [5.0]}, sent_at=at(day, 23))], [])
    await store.commit([answer(JANUARY, {"calls": [7.0]}, sent_at=at(date(2024, 3, 1)))], [])
    assert query(store_url, "SELECT old_value, new_value FROM revisions") == [(5.0, 7.0)]


@pytest.mark.parametrize(
    ("period", "first", "days", "end"),
    [
        (Period.DAY, date(2024, 1, 7), 1, date(2024, 1, 8)),
        (Period.WEEK, date(2024, 1, 7), 7, date(2024, 1, 14)),
        (Period.MONTH, date(2024, 2, 1), 29, date(2024, 3, 1)),
        (Period.MONTH, date(2023, 12, 1), 31, date(2024, 1, 1)),
    ],
)
async def test_complete_and_final_follow_from_the_time_of_the_request(
    store: AccountStore, store_url: str, period: Period, first: date, days: int, end: date
) -> None:
    one = series(period=period)
    for late, state in ((-1, (False, False)), (0, (True, False)), (SETTLE_DAYS - 1, (True, False)), (3, (True, True))):
        sent_at = at(end + timedelta(late), 0)
        await store.commit([answer(first, {"calls": [5.0]}, days=days, of=one, sent_at=sent_at)], [])
        assert query(store_url, "SELECT complete, final FROM metric_values") == [state], late
        assert query(store_url, "SELECT complete, final FROM performance") == [state], late


async def test_the_present_settle_days_decide_what_is_final(store: AccountStore, store_url: str) -> None:
    await store.commit([answer(JANUARY, {"calls": [5.0]}, sent_at=at(date(2024, 1, 5)))], [])
    assert query(store_url, "SELECT final FROM performance") == [(True,)]
    await store.release()
    async with claimed(store_url, identity(settle_days=30)):
        assert query(store_url, "SELECT final FROM performance") == [(False,)]


async def test_a_value_that_the_answer_lacks_stays_and_is_final_by_its_last_answer(
    store: AccountStore, store_url: str
) -> None:
    await store.commit([answer(JANUARY, {"calls": [5.0], "js_errors": [1.0]}, sent_at=at(JANUARY, 23))], [])
    lacking = answer(JANUARY, {"js_errors": [1.0]}, sent_at=at(date(2024, 2, 1)))
    for _ in range(2):
        assert await store.commit([lacking], []) == RowCounts(unchanged=1)
    rows = query(store_url, "SELECT metric, value, complete, final FROM metric_values ORDER BY metric")
    assert rows == [("calls", 5.0, False, False), ("js_errors", 1.0, True, True)]
    assert query(store_url, "SELECT calls, js_errors, complete, final FROM performance") == [(5.0, 1.0, False, False)]
    # The value returns: complete from now on; no revision, because no answer after the period's end had contained it.
    await store.commit([answer(JANUARY, {"calls": [6.0], "js_errors": [1.0]}, sent_at=at(date(2024, 2, 2)))], [])
    assert query(store_url, "SELECT calls, complete, final FROM performance") == [(6.0, True, True)]
    assert query(store_url, "SELECT * FROM revisions") == []


async def test_a_complete_value_that_was_absent_meanwhile_is_still_revised(store: AccountStore, store_url: str) -> None:
    await store.commit([answer(JANUARY, {"calls": [5.0]}, sent_at=at(date(2024, 1, 3)))], [])
    empty = answer(JANUARY, {}, absent=[JANUARY], sent_at=at(date(2024, 2, 1)))
    assert await store.commit([empty], []) == RowCounts(absent=1)
    assert query(store_url, "SELECT value, complete, final FROM metric_values") == [(5.0, True, False)]
    await store.commit([answer(JANUARY, {"calls": [6.0]}, sent_at=at(date(2024, 2, 2)))], [])
    assert query(store_url, "SELECT old_value, new_value FROM revisions") == [(5.0, 6.0)]


async def test_an_absent_period_is_unconfirmed_until_another_day_and_width(store: AccountStore) -> None:
    first, again, later = (at(date(2024, 2, number)) for number in (1, 1, 2))
    absent = [SECOND, THIRD]
    await store.commit([answer(JANUARY, {"calls": [5.0]}, days=3, absent=absent, sent_at=first)], [])
    once = {series(): [AbsentSpan(SECOND, THIRD, date(2024, 2, 1), 3)]}
    assert await store.unconfirmed_absence() == once
    await store.commit([answer(SECOND, {}, days=2, absent=absent, sent_at=again)], [])
    await store.commit([answer(JANUARY, {"calls": [5.0]}, days=3, absent=absent, sent_at=later)], [])
    assert await store.unconfirmed_absence() == once, "the same day, the same width"
    await store.commit([answer(THIRD, {"calls": [1.0]}, sent_at=later)], [])
    assert await store.unconfirmed_absence() == {series(): [AbsentSpan(SECOND, SECOND, date(2024, 2, 1), 3)]}
    await store.commit([answer(SECOND, {}, absent=[SECOND], sent_at=later)], [])
    assert await store.unconfirmed_absence() == {}
    await store.commit([answer(JANUARY, {"calls": [5.0]}, days=2, absent=[SECOND], sent_at=later)], [])
    assert await store.unconfirmed_absence() == {}, "a confirmed absence is not doubted again"


async def test_what_was_absent_before_its_end_is_not_confirmed(store: AccountStore) -> None:
    for number in (1, 2):
        await store.commit([answer(JANUARY, {}, absent=[JANUARY], sent_at=at(date(2024, 1, number)))], [])
    assert await store.unconfirmed_absence() == {series(): [AbsentSpan(JANUARY, JANUARY, SECOND, 1)]}


async def test_absent_periods_are_counted_until_an_answer_contains_them(store: AccountStore, store_url: str) -> None:
    absent = [SECOND, THIRD]
    counts = await store.commit([answer(JANUARY, {"calls": [5.0]}, days=3, absent=absent)], [])
    assert counts == RowCounts(new=1, absent=2)
    with Reader(store_url) as reader:
        assert [one.absent for one in reader.accounts()[0].series] == [2]
    await store.commit([answer(SECOND, {"calls": [1.0]}, days=2, absent=[THIRD])], [])
    with Reader(store_url) as reader:
        (status,) = reader.accounts()[0].series
    assert (status.absent, status.first, status.last) == (1, JANUARY, SECOND)


async def test_the_same_reject_is_stored_once(store: AccountStore, store_url: str) -> None:
    rejects = [Reject("calls", "1704085200", "NaN\0\ud800", "not a number"), Reject("calls", "x", "1", "no timestamp")]
    batch = answer(JANUARY, {"js_errors": [1.0]}, rejects=rejects)
    for _ in range(2):
        assert (await store.commit([batch], [])).rejected == 2
    rows = query(store_url, "SELECT metric, timestamp, value, reason FROM reject ORDER BY timestamp")
    assert rows == [("calls", "1704085200", r"NaN\x00\ud800", "not a number"), ("calls", "x", "1", "no timestamp")]


async def test_an_unknown_metric_is_stored(store: AccountStore, store_url: str) -> None:
    await store.commit([answer(JANUARY, {"calls": [1.0], "brand_new": [2.5]})], [])
    assert query(store_url, "SELECT value FROM metric_values WHERE metric = 'brand_new'") == [(2.5,)]
    assert query(store_url, "SELECT calls FROM performance") == [(1.0,)]
    found = query(store_url, "SELECT resource, unit, additive, meaning FROM metrics WHERE metric = 'brand_new'")
    assert found == [("performance", None, None, None)]


async def test_coverage_grows_and_is_read_back(store: AccountStore) -> None:
    one, other = series(), series("ALL")
    await store.commit([answer(JANUARY, {"calls": [1.0]}), answer(SECOND, {"calls": [1.0, 2.0]})], [])
    found = await store.coverage([one, other])
    assert found[other] == []
    assert final_spans(found[one], Period.DAY, CALENDAR, SETTLE_DAYS) == [(JANUARY, THIRD)]
    assert len(found[one]) == 1


async def test_the_newest_stored_period_of_each_series_is_read_back(store: AccountStore) -> None:
    weeks = series(resource="profile", period=Period.WEEK)
    assert await store.answered() == []
    await store.commit([answer(date(2024, 1, 7), {"callers": [5.0]}, days=7, of=weeks)], [])
    later = at(JANUARY + timedelta(90))
    await store.commit([answer(JANUARY, {"calls": [1.0, 2.0, 3.0]}, sent_at=later)], [])
    assert await store.answered() == [
        Slice(series(), THIRD, THIRD),
        Slice(weeks, date(2024, 1, 7), date(2024, 1, 13)),
    ]


async def test_failed_slices_are_stored_until_they_are_done(store: AccountStore) -> None:
    one = series()
    for _ in range(2):
        await store.commit([], [FailedSlice(Slice(one, JANUARY, date(2024, 1, 31)), "rejected", "400 no\0pe")])
    (failed,) = await store.failed([one])
    assert failed[1:] == (JANUARY, date(2024, 1, 31), "rejected", r"400 no\x00pe", 1_704_200_000, 2)
    await store.commit([answer(date(2024, 1, 10), {"calls": [1.0] * 5})], [])
    assert [each[1:3] for each in await store.failed([one])] == [
        (JANUARY, date(2024, 1, 9)),
        (date(2024, 1, 15), date(2024, 1, 31)),
    ]
    assert await store.failed([series("ALL")]) == []
    await store.commit([answer(JANUARY, {"calls": [1.0] * 31})], [])
    assert await store.failed([one]) == []


async def test_answers_and_failures_commit_together_or_not_at_all(store: AccountStore, store_url: str) -> None:
    good, bad = answer(JANUARY, {"calls": [1.0]}), answer(SECOND, {"new_metric": [2.0]}, of=series("800"))
    broken = Slice(bad.slice.series, bad.slice.last, bad.slice.first - timedelta(1))
    with pytest.raises(Exception, match="failed_slice"):
        await store.commit([good, bad], [FailedSlice(broken, "rejected", "ends before it begins")])
    assert query(store_url, "SELECT * FROM metric_values") == []
    assert (await store.coverage([series()]))[series()] == []
    assert await store.commit([good, bad], []) == RowCounts(new=2)


async def test_every_resource_has_its_wide_view(store: AccountStore, store_url: str) -> None:
    batches = [
        answer(JANUARY, {"calls": [1.0], "call_minutes": [2.0]}, of=series(resource="volume")),
        answer(JANUARY, {"calls": [3.0], "loops": [4.0]}, of=series("ALL", resource="events")),
        answer(date(2024, 1, 7), {"callers": [5.0]}, days=7, of=series(resource="profile", period=Period.WEEK)),
    ]
    await store.commit(batches, [])
    volume = query(store_url, "SELECT phone_name, calls, call_minutes, transfers, transfer_minutes FROM volume_day")
    assert volume == [("Front desk", 1.0, 2.0, None, None)]
    assert query(store_url, "SELECT phone, phone_name, calls, loops FROM events_all") == [("ALL", None, 3.0, 4.0)]
    assert query(store_url, "SELECT * FROM events_day") == []
    assert query(store_url, "SELECT callers FROM profile_week") == [(5.0,)]
    assert query(store_url, "SELECT * FROM profile_month") == []
    assert query(store_url, "SELECT * FROM performance") == []


async def test_the_state_of_an_account_survives_a_restart(store: AccountStore, store_url: str) -> None:
    assert await store.load() is None
    record = QuotaRecord(150, 40, 90, 1_704_200_400, -0.25, 1_704_200_000.5)
    for one in (QuotaRecord(150, 0, None, None, 0.0, 0.0), record):
        await store.save(one)
    for limits in (RangeLimits(92), learnt := RangeLimits(92, 366, 1_704_200_000, date(2023, 1, 1), 2, 1_704_200_001)):
        await store.save_range_limits(("performance", Period.DAY), limits)
    for moment in (0.0, 100_000.5, 100_001.5):
        await store.record_auth_attempt(moment)
    await store.set_state(RecordedState.PAUSED, "credentials refused")
    await store.set_answer("the zone fits", 1_704_200_000.9)
    await store.release()
    async with claimed(store_url, identity()) as again:
        assert await again.load() == record
        assert await again.range_limits() == {("performance", Period.DAY): learnt}
        assert await again.auth_attempts() == [100_000.5, 100_001.5]
    with Reader(store_url) as reader:
        (account,) = reader.accounts()
    assert (account.state, account.reason) == ("paused", "credentials refused")
    assert (account.answer, account.answered_at) == ("the zone fits", 1_704_200_000)
    assert account.quota == record
    assert account.identity == identity(phones=(("8005551234", "Front desk"), ("ALL", None)))
