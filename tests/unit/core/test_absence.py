"""Unconfirmed absence, compared with a record of each period by itself."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.absence import (
    SAME_WIDTH_DAYS,
    AbsentSpan,
    absent_edge,
    count_periods,
    update_absence,
)
from harvester.core.coverage import Span
from harvester.core.model import Series, Slice, Stretch
from harvester.core.period import Calendar, Period
from harvester.core.planning import Desire, Rules, Stored, plan_slices
from tests.support.examples import examples

CALENDAR = Calendar(ZoneInfo("America/New_York"))
ORIGIN = date(2024, 1, 1)
NEVER = date(2030, 1, 1)
periods = st.sampled_from(Period)


def day(number: int) -> date:
    return ORIGIN + timedelta(days=number)


def line(period: Period = Period.DAY) -> Series:
    return Series("main", "performance", "ALL", period)


def whole_slice(period: Period, first: int, width: int) -> Slice:
    begin = CALENDAR.floor(period, day(first))
    return Slice(line(period), begin, CALENDAR.last(period, begin + timedelta(days=width)))


answers = st.tuples(st.integers(0, 90), st.integers(0, 40), st.integers(0, 200), st.randoms(use_true_random=False))


@given(periods, st.lists(answers, min_size=1, max_size=10))
@examples(150)
def test_each_period_is_confirmed_by_another_day_and_another_width(
    period: Period, sent: list[tuple[int, int, int, Random]]
) -> None:
    spans: list[AbsentSpan] = []
    known: dict[date, tuple[date, int]] = {}
    confirmed: set[date] = set()
    for first, width, on, random in sent:
        piece = whole_slice(period, first, width)
        asked_on = day(on)
        starts = list(CALENDAR.starts(period, piece.first, piece.last))
        absent = [start for start in starts if random.random() < 0.6]
        spans = update_absence(spans, piece, asked_on, absent, confirmed, CALENDAR)
        for start in starts:
            before = known.get(start)
            if start not in absent or CALENDAR.last(period, start) >= asked_on:
                known.pop(start, None)
            elif before is None:
                if start not in confirmed:
                    known[start] = (asked_on, piece.days)
            elif asked_on > before[0] and (piece.days != before[1] or (asked_on - before[0]).days >= SAME_WIDTH_DAYS):
                known.pop(start)
                confirmed.add(start)
        assert {
            start: (span.seen_on, span.width)
            for span in spans
            for start in CALENDAR.starts(period, span.first, span.last)
        } == known
        assert count_periods(spans, period, CALENDAR) == len(known)
        assert all(left.last < right.first for left, right in itertools.pairwise(spans))


def test_ten_empty_years_are_one_span() -> None:
    piece = Slice(line(), date(2014, 1, 1), date(2023, 12, 31))
    absent = list(CALENDAR.starts(Period.DAY, piece.first, piece.last))
    assert update_absence([], piece, day(0), absent, (), CALENDAR) == [
        AbsentSpan(piece.first, piece.last, day(0), piece.days)
    ]


@pytest.mark.parametrize(
    ("lacking", "edge"),
    [
        ([0, 1], Span(day(0), day(1))),
        ([8, 9], Span(day(8), day(9))),
        ([0, 9], None),
        ([4], None),
        ([], None),
        (range(10), None),
        ([9, 10], Span(day(9), day(9))),  # today is absent as well, and had not ended
        ([10], None),
    ],
    ids=str,
)
def test_an_edge_is_one_run_of_absent_periods_at_an_end(lacking: Sequence[int], edge: Span | None) -> None:
    last = day(10) if 10 in lacking else day(9)
    assert absent_edge(Slice(line(), day(0), last), [day(n) for n in lacking], day(10), CALENDAR) == edge


absent_spans = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3)), min_size=1, max_size=6)


@given(periods, absent_spans, st.integers(1, 120), st.integers(0, 2), st.data())
@examples(200)
def test_due_absence_is_asked_for_again_with_another_width(
    period: Period, numbers: list[tuple[int, int]], width: int, age: int, data: st.DataObject
) -> None:
    """Every absent period is in a slice whose answer would confirm its absence, as far as the width allows that."""
    series, today = line(period), date(2027, 1, 1)
    first = CALENDAR.floor(period, ORIGIN)
    starts = list(itertools.islice(CALENDAR.starts(period, first, NEVER), 30))
    spans: list[AbsentSpan] = []
    for begin, more in sorted(numbers):
        if not spans or starts[begin] > spans[-1].last:
            last = CALENDAR.last(period, starts[min(begin + more, 29)])
            seen = data.draw(st.sampled_from([1, 28, 29, 30, 31, 7, 14, 60, width, (last - starts[begin]).days + 1]))
            spans.append(AbsentSpan(starts[begin], last, today - timedelta(days=age), seen))
    last = CALENDAR.last(period, starts[-1])
    stored = Stored({series: [Stretch(first, last, today, 30)]}, {}, absent={series: spans})
    plan = plan_slices(
        [Desire(series, first, last)], stored, Rules(CALENDAR, today, 3), {("performance", period): width}
    )
    if age == 0:
        assert not plan.slices
        return
    one_period = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}[period]
    assert all(piece.days <= max(width, one_period) for piece in plan.slices)
    if width >= 3 * one_period:
        for span in spans:
            for start in CALENDAR.starts(period, span.first, span.last):
                holding = [piece for piece in plan.slices if piece.first <= start <= piece.last]
                assert any(span.confirmed_by(today, piece.days) for piece in holding)
