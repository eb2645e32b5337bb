"""The weeks to ask for, and the calendars that their answer fits."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.model import Page, Series, Slice
from harvester.core.period import Calendar, Period, WeekStart
from harvester.errors import CalendarMismatch, PayloadError
from harvester.parsing.calendar_check import ZONES
from harvester.parsing.calendar_detection import compare_calendar, weeks_to_probe
from tests.support.examples import examples

NEW_YORK = Calendar(ZoneInfo("America/New_York"))
TODAY = date(2025, 11, 23)

calendars = st.builds(Calendar, st.sampled_from(ZONES).map(ZoneInfo), st.sampled_from(WeekStart))
todays = st.dates(date(2019, 1, 1), date(2030, 12, 31))


def answer(server: Calendar, first: date, last: date, *, cut_week_key: str = "week") -> Page:
    """The answer of a server with this calendar; a week that began before the range is keyed by itself or the range."""
    keys = []
    day = server.floor(Period.WEEK, first)
    while day <= last:
        keys.append(str(server.midnight(max(day, first) if cut_week_key == "range" else day)))
        day = server.following(Period.WEEK, day)
    return page(keys, first, last)


def page(keys: list[str], first: date, last: date, metric: str = "calls") -> Page:
    piece = Slice(Series("main", "performance", "ALL", Period.WEEK), first, last)
    return Page(piece, 0, {metric: [(key, 1) for key in keys]})


def probe(configured: Calendar, server: Calendar, *, today: date = TODAY, cut_week_key: str = "week") -> Page:
    return answer(server, *weeks_to_probe(configured, today, 366), cut_week_key=cut_week_key)


def mismatch(found: Page, configured: Calendar) -> CalendarMismatch:
    with pytest.raises(CalendarMismatch) as caught:
        compare_calendar(found, configured)
    return caught.value


@given(calendars, todays, st.integers(1, 400))
@examples(60)
def test_the_range_is_whole_past_weeks(calendar: Calendar, today: date, max_days: int) -> None:
    first, last = weeks_to_probe(calendar, today, max_days)
    assert calendar.floor(Period.WEEK, first) == first
    assert calendar.last(Period.WEEK, last) == last
    assert last < today
    assert (last - first).days + 1 <= max(7, min(max_days, 28))
    assert today - first < timedelta(days=420)


@given(calendars, todays)
@examples(60)
def test_the_configured_calendar_comes_first_if_it_fits(calendar: Calendar, today: date) -> None:
    text = compare_calendar(probe(calendar, calendar, today=today), calendar)
    assert text.startswith(f"the answer fits {calendar.zone.key}")
    assert text.endswith(f"weeks from {calendar.week_start}")


@given(todays, st.sampled_from(["Etc/GMT+5", "Etc/GMT+4", "America/Chicago", "America/Sao_Paulo", "UTC"]))
@examples(60)
def test_another_zone_is_found_in_every_season(today: date, other: str) -> None:
    error = mismatch(probe(NEW_YORK, Calendar(ZoneInfo(other)), today=today), NEW_YORK)
    assert error.setting == "timezone"
    assert error.fits is not None
    assert f'timezone = "{error.fits}"' in error.detail


@pytest.mark.parametrize("cut_week_key", ["week", "range"])
@pytest.mark.parametrize("start", WeekStart)
def test_another_week_start_is_found_for_both_keys_of_a_cut_week(start: WeekStart, cut_week_key: str) -> None:
    other = next(one for one in WeekStart if one is not start)
    configured, server = Calendar(NEW_YORK.zone, start), Calendar(NEW_YORK.zone, other)
    error = mismatch(probe(configured, server, cut_week_key=cut_week_key), configured)
    assert (error.setting, error.fits) == ("week_start", other.value)


def test_a_week_start_that_does_no_harm_is_only_described() -> None:
    server = Calendar(NEW_YORK.zone, WeekStart.MONDAY)
    assert "monday" in compare_calendar(probe(NEW_YORK, server), NEW_YORK, weeks_matter=False)


def test_both_settings_are_named_at_once() -> None:
    error = mismatch(probe(NEW_YORK, Calendar(ZoneInfo("UTC"), WeekStart.MONDAY)), NEW_YORK)
    assert 'timezone = "UTC" and week_start = "monday"' in error.detail


def test_weeks_from_saturday_fit_no_setting() -> None:
    first, last = weeks_to_probe(NEW_YORK, TODAY, 366)
    saturdays = [first - timedelta(days=1) + week * timedelta(days=7) for week in range(5)]
    error = mismatch(page([str(NEW_YORK.midnight(day)) for day in saturdays], first, last), NEW_YORK)
    assert (error.setting, error.fits) == ("week_start", None)


def test_keys_that_begin_no_day_in_any_zone_are_a_mismatch_without_advice() -> None:
    first, last = weeks_to_probe(NEW_YORK, TODAY, 366)
    keys = [str(key + 1234) for key in NEW_YORK.grid(Period.WEEK, first, last)]
    assert mismatch(page(keys, first, last), NEW_YORK).fits is None


def test_a_single_stray_key_is_no_mismatch() -> None:
    first, last = weeks_to_probe(NEW_YORK, TODAY, 366)
    keys = [str(key) for key in NEW_YORK.grid(Period.WEEK, first, last)]
    assert "stray" in compare_calendar(page([*keys, str(int(keys[1]) + 1234)], first, last), NEW_YORK)


def test_an_empty_answer_shows_nothing() -> None:
    assert "unknown" in compare_calendar(page([], *weeks_to_probe(NEW_YORK, TODAY, 366)), NEW_YORK)


def test_the_answer_of_another_server_fails() -> None:
    with pytest.raises(PayloadError):
        compare_calendar(page(["1"], *weeks_to_probe(NEW_YORK, TODAY, 366), metric="weather"), NEW_YORK)
