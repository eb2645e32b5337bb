from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from harvester.config import Account, Phone
from harvester.core.absence import AbsentSpan
from harvester.core.coverage import Span, stretch_of
from harvester.core.model import Batch, Series, Slice
from harvester.core.period import Period
from harvester.core.planning import Rules
from harvester.core.priority import Priority
from harvester.daemon.reconcile import ProvisionalDays, ReconcilePlan, StoredSeries, plan_reconcile
from harvester.engine.account_plan import configured_series, limit_trackers_of
from harvester.store.types import FailedRange

TODAY = date(2024, 6, 20)
NOW = 1_718_900_000
ACCOUNT = Account(
    name="main", login="me", phones=(Phone("ALL"), Phone("8005551234")), start=date(2024, 1, 1), periods=(Period.DAY,)
)
RULES = Rules(ACCOUNT.calendar, TODAY, settle_days=3)
ALL, ONE = configured_series(ACCOUNT)


def asked(series: Series, first: date, last: date, on: date = TODAY) -> StoredSeries:
    return StoredSeries(coverage={series: [stretch_of(Slice(series, first, last), on, ACCOUNT.calendar)]}, failed=[])


def planned(
    stored: StoredSeries,
    provisional: ProvisionalDays | None = None,
    ordered: Mapping[Series, Sequence[Span]] | None = None,
) -> ReconcilePlan:
    return plan_reconcile(
        ACCOUNT,
        RULES,
        stored,
        limit_trackers_of(ACCOUNT, {}),
        provisional=provisional or ProvisionalDays(),
        ordered=ordered or {},
        now=NOW,
    )


def test_everything_from_the_start_to_today_is_wanted() -> None:
    todo = planned(StoredSeries(coverage={}, failed=[]))
    assert [(piece.series, piece.first, piece.last) for piece in todo.plan.slices] == [
        (ALL, date(2024, 1, 1), TODAY),
        (ONE, date(2024, 1, 1), TODAY),
    ]
    assert {todo.priority(piece) for piece in todo.plan.slices} == {Priority.FRESH}
    assert todo.complete_through == {("performance", Period.DAY): None}


def test_provisional_days_are_one_request_per_series_and_tick() -> None:
    stored = asked(ALL, date(2024, 1, 1), TODAY)
    provisional = ProvisionalDays()
    (piece,) = [piece for piece in planned(stored, provisional).plan.slices if piece.series == ALL]
    assert (piece.first, piece.last) == (TODAY - timedelta(days=3), TODAY)
    provisional.add(Batch(piece, NOW, {}, {}), RULES)
    assert not [piece for piece in planned(stored, provisional).plan.slices if piece.series == ALL]
    provisional.clear()
    assert [piece for piece in planned(stored, provisional).plan.slices if piece.series == ALL] == [piece]


def test_days_that_the_database_lost_are_asked_for_again() -> None:
    whole = Slice(ALL, date(2024, 1, 1), TODAY)
    provisional = ProvisionalDays()
    provisional.add(Batch(whole, NOW, {}, {}), RULES)
    assert [
        piece for piece in planned(StoredSeries(coverage={}, failed=[]), provisional).plan.slices if piece.series == ALL
    ] == [whole]
    stored = asked(ALL, date(2024, 1, 1), TODAY - timedelta(days=10))  # an earlier answer is still stored
    (piece,) = [piece for piece in planned(stored, provisional).plan.slices if piece.series == ALL]
    assert (piece.first, piece.last) == (TODAY - timedelta(days=9), TODAY)


def test_days_provisional_by_the_servers_clock_are_not_asked_for_again_before_the_tick() -> None:
    piece = Slice(ALL, TODAY - timedelta(days=20), TODAY - timedelta(days=14))
    behind = NOW - 15 * 86_400
    stored = asked(ALL, piece.first, piece.last, on=ACCOUNT.calendar.local_date(behind))
    provisional = ProvisionalDays()
    provisional.add(Batch(piece, behind, {}, {}), RULES)
    asked_again = [
        one for one in planned(stored, provisional).plan.slices if one.first <= piece.last and piece.first <= one.last
    ]
    assert {one.series for one in asked_again} == {ONE}


def test_an_absent_period_is_not_asked_for_again_before_the_tick() -> None:
    """Where the host's clock is a day ahead, its absence is due by the host and not by the server."""
    piece = Slice(ALL, date(2024, 1, 1), TODAY - timedelta(days=14))
    absent = AbsentSpan(piece.first, piece.first, TODAY - timedelta(days=1), piece.days)
    stored = replace(asked(ALL, date(2024, 1, 1), TODAY), absent={ALL: [absent]})
    again = Slice(ALL, piece.first, piece.first)
    assert again in planned(stored).plan.slices
    provisional = ProvisionalDays()
    provisional.add(Batch(again, NOW - 86_400, {}, {}, absent=[piece.first]), RULES)
    assert again not in planned(stored, provisional).plan.slices


def test_a_final_answer_is_not_provisional() -> None:
    provisional = ProvisionalDays()
    provisional.add(Batch(Slice(ALL, date(2024, 1, 1), date(2024, 3, 1)), NOW, {}, {}), RULES)
    assert provisional.spans == {}


def test_a_failed_slice_is_left_out_during_its_cool_down() -> None:
    failure = FailedRange(ALL, date(2024, 2, 1), date(2024, 2, 29), "rejected", "no", NOW - 600, 1)
    stored = StoredSeries(coverage=asked(ALL, date(2024, 3, 1), TODAY).coverage, failed=[failure])
    todo = planned(stored)
    assert todo.due_in == 300
    wanted = [(piece.first, piece.last) for piece in todo.plan.slices if piece.series == ALL]
    assert wanted == [(TODAY - timedelta(days=3), TODAY), (date(2024, 1, 1), date(2024, 1, 31))]
    due = FailedRange(ALL, date(2024, 2, 1), date(2024, 2, 29), "rejected", "no", NOW - 900, 1)
    todo = planned(StoredSeries(coverage=stored.coverage, failed=[due]))
    assert todo.due_in is None
    assert (date(2024, 2, 1), date(2024, 2, 29)) in {(piece.first, piece.last) for piece in todo.plan.slices}


def test_the_days_of_an_order_are_left_to_it() -> None:
    everything = {series: [Span(date(2024, 1, 1), TODAY)] for series in (ALL, ONE)}
    assert not planned(StoredSeries(coverage={}, failed=[]), ordered=everything).plan.slices


def test_only_days_of_every_phone_are_complete() -> None:
    first, last = date(2024, 1, 1), date(2024, 6, 10)
    stored = asked(ALL, first, TODAY)
    both = StoredSeries(coverage={**stored.coverage, **asked(ONE, first, last).coverage}, failed=[])
    assert planned(both).complete_through == {("performance", Period.DAY): last}
