"""The figures are a function of seed, number and day, and of the server's time until a day is final."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.metric_catalogue import METRICS
from harvester.core.period import Calendar, Period, WeekStart
from harvester.simulator.traffic import NO_TRAFFIC, Tally, day_tally, merge
from harvester.simulator.wire import json_figures
from harvester.simulator.world import FORMULAS, Beyond, CutKey, World

_PHONES = ("8005551234", "8005551235", "8005551236")
_WORLD = World(seed=7, phones=_PHONES)
_CALENDAR = _WORLD.calendar

_days = st.dates(date(2015, 1, 1), date(2028, 12, 31))
_resources = st.sampled_from(sorted(FORMULAS))
_additive = {(metric.resource, metric.name) for metric in METRICS if metric.additive}


def test_it_has_every_metric_of_the_catalogue() -> None:
    served = {(resource, metric) for resource, formulas in FORMULAS.items() for metric in formulas}
    assert served == {(metric.resource, metric.name) for metric in METRICS}


@given(resource=_resources, first=_days, days=st.integers(0, 40), phone=st.sampled_from([*_PHONES, "ALL"]))
def test_each_day_of_the_range_has_its_own_figure(resource: str, first: date, days: int, phone: str) -> None:
    last = first + timedelta(days=days)
    truth = _WORLD.truth(resource, phone, Period.DAY, first, last)
    grid = _CALENDAR.grid(Period.DAY, first, last)
    for metric, values in truth.items():
        formula = FORMULAS[resource][metric]
        assert values == {at: formula(_WORLD.tally(phone, day)) for at, day in grid.items()}


@given(
    resource=_resources,
    day=_days,
    period=st.sampled_from([Period.WEEK, Period.MONTH]),
    week_start=st.sampled_from(list(WeekStart)),
)
def test_weeks_and_months_are_the_sum_of_additive_figures(
    resource: str, day: date, period: Period, week_start: WeekStart
) -> None:
    world = replace(_WORLD, calendar=Calendar(_CALENDAR.zone, week_start))
    first, last = world.calendar.floor(period, day), world.calendar.last(period, day)
    whole = world.truth(resource, "ALL", period, first, last)
    days = world.truth(resource, "ALL", Period.DAY, first, last)
    for metric, values in whole.items():
        assert list(values) == [world.calendar.midnight(first)]
        (value,) = values.values()
        if (resource, metric) in _additive:
            assert value == pytest.approx(sum(days[metric].values()))
        elif metric == "callers":
            assert max(days[metric].values()) <= value <= sum(days[metric].values())
        else:
            assert min(days[metric].values()) <= value <= max(days[metric].values())


@given(_resources, _days, st.integers(0, 5 * 86_400))
def test_all_is_the_sum_of_its_phones_at_any_moment(resource: str, day: date, later: int) -> None:
    world = replace(_WORLD, late_days=2)
    now = float(_CALENDAR.midnight(day) + later)
    together = world.truth(resource, "ALL", Period.DAY, day, day, now)
    single = [world.truth(resource, phone, Period.DAY, day, day, now) for phone in _PHONES]
    for metric, values in together.items():
        if (resource, metric) in _additive:
            assert sum(values.values()) == pytest.approx(sum(sum(one[metric].values()) for one in single))


def test_a_cut_bucket_counts_only_the_days_inside_the_range() -> None:
    first, last = date(2024, 2, 20), date(2024, 3, 10)
    cut = _WORLD.truth("performance", "ALL", Period.MONTH, first, last)["calls"]
    days = _WORLD.truth("performance", "ALL", Period.DAY, first, last)["calls"]
    february, march = (_CALENDAR.midnight(day) for day in (date(2024, 2, 1), date(2024, 3, 1)))
    assert cut == {
        february: sum(calls for at, calls in days.items() if at < march),
        march: sum(calls for at, calls in days.items() if at >= march),
    }
    by_range = replace(_WORLD, cut_key=CutKey.RANGE).truth("performance", "ALL", Period.MONTH, first, last)["calls"]
    assert by_range == {_CALENDAR.midnight(first): cut[february], march: cut[march]}


@given(_days, st.lists(st.integers(-86_400, 6 * 86_400), min_size=2, max_size=8))
def test_a_day_grows_until_it_is_final(day: date, moments: list[int]) -> None:
    world = replace(_WORLD, late_days=3)
    begin = _CALENDAR.midnight(day)
    final_at = _CALENDAR.midnight(day + timedelta(days=4))
    calls = [world.tally_at("ALL", day, float(begin + moment)).calls for moment in sorted(moments)]
    final = world.tally("ALL", day)
    assert calls == sorted(calls)
    assert calls[-1] <= final.calls
    assert world.tally_at("ALL", day, float(final_at)) == final
    if final.calls:
        assert world.tally_at("ALL", day, float(final_at - 1)) != final
        assert world.tally_at("ALL", day, float(begin)) == NO_TRAFFIC


@given(st.integers(0, 50), _days)
def test_counts_are_consistent(seed: int, day: date) -> None:
    tally = day_tally(seed, "8005551234", day.toordinal())
    assert min(tally) >= 0
    assert tally.transfers <= tally.calls
    assert tally.loops <= tally.form_items
    assert min(1, tally.calls) <= tally.callers <= tally.calls
    for part in (tally.of_calls(tally.calls // 2), merge([tally, tally])):
        assert min(1, part.calls) <= part.callers <= part.calls
    if not tally.calls:
        assert tally == NO_TRAFFIC


def test_another_seed_number_or_day_has_other_figures() -> None:
    day = date(2024, 5, 14)
    busy = next(f"80055500{n:02}" for n in range(100) if World().tally(f"80055500{n:02}", day).calls > 500)
    figures = {
        World(seed=seed).tally(phone, day + timedelta(days=ahead))
        for seed, phone, ahead in [(0, busy, 0), (1, busy, 0), (0, "8005559999", 0), (0, busy, 1)]
    }
    assert len(figures) == 4


def test_the_same_in_every_process_and_release() -> None:
    # A change of these numbers changes every simulated world.
    assert tuple(World().tally("8005551234", date(2024, 5, 14))) == (95, 5, 2, 92876, 5660, 14, 417, 323, 332, 1165, 74)


def test_some_phones_are_quiet_and_weekends_differ() -> None:
    weeks = [date(2024, 1, 1) + timedelta(days=ahead) for ahead in range(364)]
    calls = {
        phone: [World().tally(phone, day).calls for day in weeks] for phone in (f"80055500{n:02}" for n in range(40))
    }
    assert any(max(line) <= 2 for line in calls.values())
    assert any(min(line) > 100 for line in calls.values()) or any(max(line) > 500 for line in calls.values())
    assert any(0 in line and max(line) > 20 for line in calls.values())
    workdays = sum(sum(line[offset::7]) for line in calls.values() for offset in range(5)) / 5
    weekend = sum(sum(line[offset::7]) for line in calls.values() for offset in (5, 6)) / 2
    assert weekend < 0.8 * workdays


@pytest.mark.parametrize(
    ("beyond", "days"), [(Beyond.ZERO, range(1, 11)), (Beyond.ABSENT, range(4, 8)), (Beyond.REFUSED, range(4, 8))]
)
def test_days_without_data_are_zero_or_absent(beyond: Beyond, days: range) -> None:
    world = replace(_WORLD, first_day=date(2024, 5, 4), before=beyond, future=beyond)
    now = _CALENDAR.midnight(date(2024, 5, 7)) + 3600.0
    truth = world.truth("profile", "ALL", Period.DAY, date(2024, 5, 1), date(2024, 5, 10), now)["calls"]
    assert list(truth) == [_CALENDAR.midnight(date(2024, 5, day)) for day in days]
    assert not any(calls for at, calls in truth.items() if not _CALENDAR.midnight(date(2024, 5, 4)) <= at <= now)


def test_a_day_that_the_zone_skips_has_no_key() -> None:
    world = World(calendar=Calendar(ZoneInfo("Pacific/Apia")))
    truth = world.truth("profile", "8005551234", Period.DAY, date(2011, 12, 29), date(2011, 12, 31))
    assert len(truth["calls"]) == 2


def test_numbers_have_no_zero_fraction() -> None:
    body = json_figures(_WORLD.truth("volume", "ALL", Period.MONTH, date(2020, 1, 1), date(2024, 12, 31))).decode()
    values = re.findall(r'"\d+":([^,}]+)', body)
    assert len(values) == 4 * 60
    assert all(re.fullmatch(r"\d+(\.\d)?", value) and not value.endswith(".0") for value in values)
    assert any("." in value for value in values)


def test_given_traffic_replaces_the_drawn_one() -> None:
    world = World(given={date(2024, 1, 2): Tally(calls=3, js_errors=1, callers=2)})
    truth = world.truth("performance", "ALL", Period.DAY, date(2024, 1, 1), date(2024, 1, 3))
    assert list(truth["calls"].values()) == [0, 3, 0]
    assert list(truth["js_errors_per_call"].values()) == [0, 0.3333, 0]
