from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.coverage import Span, merge_spans, overlay, stretch_of
from harvester.core.model import Series, Slice, Stretch
from harvester.core.period import Calendar, Period, WeekStart
from harvester.core.planning import Desire, Rules, Stored, cut, plan_slices
from tests.support.examples import examples

CALENDAR = Calendar(ZoneInfo("America/New_York"))
ORIGIN = date(2023, 12, 25)
NOTHING = Stored({}, {})


def widths(days: int) -> dict[tuple[str, Period], int]:
    return {("performance", period): days for period in Period}


WIDE = widths(366)


def series(period: Period = Period.DAY, phone: str = "ALL") -> Series:
    return Series("main", "performance", phone, period)


def day(number: int) -> date:
    return ORIGIN + timedelta(days=number)


def holes(period: Period, numbers: list[tuple[int, int]]) -> list[Span]:
    return merge_spans(
        Span(CALENDAR.floor(period, day(first)), CALENDAR.last(period, day(first + width))) for first, width in numbers
    )


def days_of(spans: list[Span]) -> set[date]:
    return {span.first + timedelta(days=n) for span in spans for n in range((span.last - span.first).days + 1)}


def fewest(missing: list[Span], period: Period, width: int) -> int:
    """By dynamic programming over every wanted period, the slow and obvious way."""
    starts = [start for span in missing for start in CALENDAR.starts(period, span.first, span.last)]
    best = {len(starts): 0}
    for index in range(len(starts) - 1, -1, -1):
        reach = index + 1
        options = [best[reach] + 1]
        while reach < len(starts) and (CALENDAR.last(period, starts[reach]) - starts[index]).days < width:
            reach += 1
            options.append(best[reach] + 1)
        best[index] = min(options)
    return best[0]


wanted = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), min_size=1, max_size=8)


@given(st.sampled_from(Period), wanted, st.integers(1, 120))
@examples(150)
def test_slices_cover_what_is_missing_once_whole_and_by_the_fewest_requests(
    period: Period, numbers: list[tuple[int, int]], width: int
) -> None:
    missing = holes(period, numbers)
    spans = cut(missing, period, CALENDAR, width)
    assert len(spans) == fewest(missing, period, width)
    assert days_of(missing) <= days_of(spans)
    assert len(days_of(spans)) == sum((span.last - span.first).days + 1 for span in spans), "two slices overlap"
    assert spans == sorted(spans, reverse=True), "not newest first"
    firsts, lasts = {span.first for span in missing}, {span.last for span in missing}
    for first, last in spans:
        assert CALENDAR.floor(period, first) == first
        assert CALENDAR.last(period, last) == last
        assert (last - first).days < width or CALENDAR.floor(period, last) == first
        assert {first, last} <= days_of(missing), "an edge that was not missing"
        assert first in firsts or first - timedelta(days=1) in days_of(missing)
        assert last in lasts or last + timedelta(days=1) in days_of(missing)


def test_every_second_day_missing_in_a_year_is_one_request() -> None:
    missing = [Span(day(n), day(n)) for n in range(0, 366, 2)]
    assert len(cut(missing, Period.DAY, CALENDAR, 366)) == 1


def test_a_final_stretch_is_bridged_only_to_save_a_request() -> None:
    newer, older = Span(day(350), day(549)), Span(day(0), day(299))
    assert cut([older, newer], Period.DAY, CALENDAR, 366) == [newer, older]


def test_a_month_wider_than_allowed_is_asked_whole() -> None:
    march = Span(date(2024, 3, 1), date(2024, 3, 31))
    assert cut([march], Period.MONTH, CALENDAR, 7) == [march]


def test_ten_years_of_days_are_ten_requests() -> None:
    rules = Rules(CALENDAR, today=date(2026, 11, 23), settle_days=3)
    plan = plan_slices([Desire(series(), date(2014, 1, 1), date(2023, 12, 31))], NOTHING, rules, widths(366))
    assert len(plan.slices) == 10


def test_a_range_is_widened_to_whole_weeks_and_ends_today() -> None:
    rules = Rules(CALENDAR, today=date(2024, 5, 16), settle_days=3)
    plan = plan_slices(
        [Desire(series(Period.WEEK), date(2024, 5, 1), date(2024, 5, 15))],
        NOTHING,
        rules,
        widths(366),
    )
    assert [(piece.first, piece.last) for piece in plan.slices] == [(date(2024, 4, 28), date(2024, 5, 16))]
    monday = Rules(Calendar(CALENDAR.zone, WeekStart.MONDAY), today=date(2024, 6, 16), settle_days=3)
    plan = plan_slices(
        [Desire(series(Period.WEEK), date(2024, 5, 1), date(2024, 5, 15))],
        NOTHING,
        monday,
        widths(366),
    )
    assert [(piece.first, piece.last) for piece in plan.slices] == [(date(2024, 4, 29), date(2024, 5, 19))]


def test_the_future_is_not_planned() -> None:
    rules = Rules(CALENDAR, today=date(2024, 5, 16), settle_days=3)
    plan = plan_slices([Desire(series(), date(2024, 5, 17), date(2024, 6, 1))], NOTHING, rules, widths(366))
    assert plan.slices == []


ranges = st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 20))


@given(st.sampled_from(Period), ranges, st.integers(0, 4), st.integers(1, 100))
@examples(100)
def test_after_every_slice_was_answered_only_what_is_not_final_is_left(
    period: Period, numbers: tuple[int, int, int], settle_days: int, width: int
) -> None:
    first, length, later = numbers
    today = day(first + length)
    line = series(period)
    desire = Desire(line, day(first), day(first + length + 5))
    rules = Rules(CALENDAR, today, settle_days)
    max_days = widths(width)
    plan = plan_slices([desire], NOTHING, rules, max_days)
    stretches: list[Stretch] = []
    for piece in plan.slices:
        new = stretch_of(piece, today, CALENDAR)
        stretches = overlay(stretches, new, period=period, calendar=CALENDAR, settle_days=settle_days)
    stored = Stored({line: stretches}, {})
    again = plan_slices([desire], stored, rules, max_days)
    for piece in again.slices:
        for start in CALENDAR.starts(period, piece.first, piece.last):
            assert (today - CALENDAR.following(period, start)).days < settle_days
    everything = plan_slices([desire], stored, Rules(CALENDAR, today, settle_days, refetch=True), max_days)
    assert everything.slices == plan.slices
    past = Rules(CALENDAR, today + timedelta(days=40 + later), settle_days)
    finished = Desire(line, day(first), CALENDAR.floor(period, today) - timedelta(days=1))
    if finished.first <= finished.last and settle_days == 0:
        done = plan_slices([finished], stored, past, max_days)
        assert done.slices == []
        assert done.already_covered > 0


def test_a_failed_slice_is_wanted_again_though_an_older_answer_is_final() -> None:
    line = series()
    rules = Rules(CALENDAR, today=date(2024, 12, 1), settle_days=3)
    whole = stretch_of(Slice(line, date(2024, 1, 1), date(2024, 3, 31)), date(2024, 11, 1), CALENDAR)
    desire = Desire(line, date(2024, 1, 1), date(2024, 3, 31))
    assert plan_slices([desire], Stored({line: [whole]}, {}), rules, widths(31)).slices == []
    failed = {line: [Span(date(2023, 12, 1), date(2024, 1, 10)), Span(date(2024, 5, 1), date(2024, 5, 2))]}
    plan = plan_slices([desire], Stored({line: [whole]}, failed), rules, widths(31))
    assert [(piece.first, piece.last) for piece in plan.slices] == [(date(2024, 1, 1), date(2024, 1, 10))]
    assert plan.already_covered == 2


def test_failed_days_are_asked_for_by_themselves() -> None:
    line = series()
    rules = Rules(CALENDAR, today=date(2024, 12, 1), settle_days=3)
    failed = {line: [Span(date(2024, 2, 1), date(2024, 2, 29))]}
    desire = Desire(line, date(2024, 1, 1), date(2024, 4, 30))
    plan = plan_slices([desire], Stored({}, failed, refused=failed), rules, WIDE)
    assert [(piece.first, piece.last) for piece in plan.slices] == [
        (date(2024, 3, 1), date(2024, 4, 30)),
        (date(2024, 2, 1), date(2024, 2, 29)),
        (date(2024, 1, 1), date(2024, 1, 31)),
    ]
    assert plan.refused_before == {plan.slices[1]}


def test_excluded_days_are_neither_asked_for_nor_bridged() -> None:
    line = series()
    rules = Rules(CALENDAR, today=date(2024, 12, 1), settle_days=3)
    excluded = {line: [Span(date(2024, 2, 1), date(2024, 2, 29)), Span(date(2024, 3, 1), date(2024, 3, 31))]}
    desire = Desire(line, date(2024, 1, 1), date(2024, 4, 30))
    plan = plan_slices([desire], Stored({}, {}, excluded=excluded), rules, WIDE)  # wide enough to bridge it
    assert [(piece.first, piece.last) for piece in plan.slices] == [
        (date(2024, 4, 1), date(2024, 4, 30)),
        (date(2024, 1, 1), date(2024, 1, 31)),
    ]


def test_a_week_with_an_excluded_day_is_excluded_whole() -> None:
    line = series(Period.WEEK)
    rules = Rules(CALENDAR, today=date(2024, 5, 16), settle_days=3)  # a Thursday
    excluded = {line: [Span(date(2024, 5, 12), date(2024, 5, 15))]}
    plan = plan_slices(
        [Desire(line, date(2024, 4, 28), date(2024, 5, 16))], Stored({}, {}, excluded=excluded), rules, WIDE
    )
    assert [(piece.first, piece.last) for piece in plan.slices] == [(date(2024, 4, 28), date(2024, 5, 11))]


def test_the_newest_slices_of_all_phones_come_first() -> None:
    rules = Rules(CALENDAR, today=date(2024, 12, 1), settle_days=3)
    desires = [Desire(series(phone=phone), date(2022, 1, 1), date(2024, 12, 1)) for phone in ("1", "2", "3")]
    plan = plan_slices(desires, NOTHING, rules, widths(366))
    assert [piece.series.phone for piece in plan.slices] == ["1", "2", "3"] * 3
