from __future__ import annotations

import itertools
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.coverage import Span, final_spans, final_through, gaps, lag_of, merge_spans, overlay, stretch_of
from harvester.core.model import Series, Slice, Stretch
from harvester.core.period import ONE_DAY, Calendar, Period
from tests.support.examples import examples

CALENDAR = Calendar(ZoneInfo("America/New_York"))
ORIGIN = date(2024, 1, 1)
periods = st.sampled_from(Period)


def day(number: int) -> date:
    return ORIGIN + timedelta(days=number)


def answer(period: Period, first: int, width: int, asked_after: int) -> Stretch:
    """An answer for whole periods, asked for some days after its first day, clipped to the day of asking."""
    begin = CALENDAR.floor(period, day(first))
    asked_on = begin + timedelta(days=asked_after)
    end = min(CALENDAR.last(period, begin + timedelta(days=width)), asked_on)
    return stretch_of(Slice(Series("main", "performance", "ALL", period), begin, end), asked_on, CALENDAR)


answers = st.tuples(st.integers(0, 120), st.integers(0, 60), st.integers(0, 200))


def starts_of(period: Period, stretch: Stretch) -> list[date]:
    return list(CALENDAR.starts(period, stretch.first, stretch.last))


@given(periods, st.lists(answers, min_size=1, max_size=12), st.integers(0, 5))
@examples(150)
def test_after_an_overlay_the_newest_answer_counts_for_every_period(
    period: Period, sent: list[tuple[int, int, int]], settle_days: int
) -> None:
    stretches: list[Stretch] = []
    newest: dict[date, int] = {}
    for numbers in sent:
        new = answer(period, *numbers)
        stretches = overlay(stretches, new, period=period, calendar=CALENDAR, settle_days=settle_days)
        for start in starts_of(period, new):
            newest[start] = (new.asked_on - CALENDAR.following(period, start)).days
    assert all(left.last < right.first for left, right in itertools.pairwise(stretches))
    covering = {start: stretch for stretch in stretches for start in starts_of(period, stretch)}
    assert covering.keys() == newest.keys()
    for start, truth in newest.items():
        known = lag_of(covering[start], start, period, CALENDAR)
        assert known <= truth, "claims more than was asked for"
        assert (known >= settle_days) == (truth >= settle_days), "joining changed what is final"


def test_a_daemon_of_ten_years_leaves_a_handful_of_stretches() -> None:
    settle_days = 3
    stretches: list[Stretch] = []
    for today in range(3650):
        new = answer(Period.DAY, max(0, today - 4), min(today, 4), min(today, 4))
        stretches = overlay(stretches, new, period=Period.DAY, calendar=CALENDAR, settle_days=settle_days)
        assert len(stretches) <= 2
    assert stretches[0].first == ORIGIN
    assert stretches[-1].last == day(3649)


@given(periods, answers, st.integers(0, 10))
def test_final_through_agrees_with_starts_of(period: Period, numbers: tuple[int, int, int], days: int) -> None:
    stretch = answer(period, *numbers)
    last = final_through(stretch, period, CALENDAR, days)
    for start in starts_of(period, stretch):
        end = CALENDAR.following(period, start)
        assert ((stretch.asked_on - end).days >= days) == (start <= last)


def test_today_is_covered_but_neither_complete_nor_final() -> None:
    stretch = answer(Period.DAY, 0, 0, 0)
    assert final_spans([stretch], Period.DAY, CALENDAR, 0) == []
    tomorrow = answer(Period.DAY, 0, 0, 1)
    assert final_spans([tomorrow], Period.DAY, CALENDAR, 0) == [Span(ORIGIN, ORIGIN)]
    assert final_spans([tomorrow], Period.DAY, CALENDAR, 1) == []


spans = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda pair: Span(day(pair[0]), day(pair[0] + pair[1]))),
    max_size=8,
)


def days_of(parts: list[Span]) -> set[date]:
    return {span.first + timedelta(days=n) for span in parts for n in range((span.last - span.first).days + 1)}


@given(spans, st.integers(0, 60), st.integers(0, 40))
def test_gaps_and_spans_tile_the_range(parts: list[Span], first: int, width: int) -> None:
    within = Span(day(first), day(first + width))
    disjoint = merge_spans(parts)
    assert days_of(disjoint) == days_of(parts)
    assert all(left.last + ONE_DAY < right.first for left, right in itertools.pairwise(disjoint))
    missing = gaps(within, disjoint)
    assert days_of(missing) == days_of([within]) - days_of(parts)
    assert sum((span.last - span.first).days + 1 for span in missing) == len(days_of(missing))
