"""Which calendars an answer fits, and what is asked for to tell."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.core.calendar_check import ZONES
from harvester.core.calendar_detection import CalendarCandidate, compare_calendar, detect_calendars, weeks_to_probe
from harvester.core.model import Page, Series, Slice
from harvester.core.period import Calendar, Period, WeekStart
from harvester.errors import PayloadError

NEW_YORK = Calendar(ZoneInfo("America/New_York"))
TODAY = date(2025, 11, 23)

calendars = st.builds(Calendar, st.sampled_from(ZONES).map(ZoneInfo), st.sampled_from(WeekStart))
todays = st.dates(date(2019, 1, 1), date(2030, 12, 31))


def answer(server: Calendar, first: date, last: date, *, key_of_cut: str = "bucket") -> Page:
    """What a server with this calendar says of a range. `key_of_cut`: of a week that the range begins within."""
    keys = []
    day = server.floor(Period.WEEK, first)
    while day <= last:
        keys.append(str(server.midnight(max(day, first) if key_of_cut == "range" else day)))
        day = server.following(Period.WEEK, day)
    return page(keys, first, last)


def page(keys: list[str], first: date, last: date) -> Page:
    piece = Slice(Series("main", "performance", "ALL", Period.WEEK), first, last)
    return Page(piece, 0, {"calls": [(key, 1) for key in keys]})


def asked(configured: Calendar, server: Calendar, *, today: date = TODAY, key_of_cut: str = "bucket") -> Page:
    return answer(server, *weeks_to_probe(configured, today, 366), key_of_cut=key_of_cut)


@given(calendars, todays, st.integers(1, 400))
@settings(max_examples=60)
def test_past_whole_weeks_are_asked_for(calendar: Calendar, today: date, most: int) -> None:
    first, last = weeks_to_probe(calendar, today, most)
    assert calendar.floor(Period.WEEK, first) == first
    assert calendar.last(Period.WEEK, last) == last
    assert last < today
    assert (last - first).days + 1 <= max(7, min(most, 28))
    assert today - first < timedelta(days=420)


@given(calendars, todays)
@settings(max_examples=60)
def test_what_is_configured_rightly_fits_and_comes_first(calendar: Calendar, today: date) -> None:
    found = asked(calendar, calendar, today=today)
    keys = [int(key) for key, _ in found.metrics["calls"]]
    assert detect_calendars(keys, calendar)[0] == CalendarCandidate(calendar.zone.key, calendar.week_start)
    verdict = compare_calendar(found, calendar)
    assert verdict.mismatch is None
    assert calendar.zone.key in verdict.text


@given(todays, st.sampled_from(["Etc/GMT+5", "Etc/GMT+4", "America/Chicago", "America/Sao_Paulo", "UTC"]))
@settings(max_examples=60)
def test_another_zone_is_told_whatever_the_season(today: date, other: str) -> None:
    mismatch = compare_calendar(asked(NEW_YORK, Calendar(ZoneInfo(other)), today=today), NEW_YORK).mismatch
    assert mismatch is not None
    assert mismatch.setting == "timezone"
    assert mismatch.fits is not None
    assert f'timezone = "{mismatch.fits}"' in mismatch.detail


@pytest.mark.parametrize("key_of_cut", ["bucket", "range"])
@pytest.mark.parametrize("start", WeekStart)
def test_another_first_weekday_is_told_however_a_cut_week_is_keyed(start: WeekStart, key_of_cut: str) -> None:
    other = next(one for one in WeekStart if one is not start)
    configured, server = Calendar(NEW_YORK.zone, start), Calendar(NEW_YORK.zone, other)
    mismatch = compare_calendar(asked(configured, server, key_of_cut=key_of_cut), configured).mismatch
    assert mismatch is not None
    assert (mismatch.setting, mismatch.fits) == ("week_start", other.value)


def test_a_week_start_that_does_no_harm_is_only_told() -> None:
    server = Calendar(NEW_YORK.zone, WeekStart.MONDAY)
    verdict = compare_calendar(asked(NEW_YORK, server), NEW_YORK, weeks_matter=False)
    assert verdict.mismatch is None
    assert "monday" in verdict.text


def test_both_settings_are_named_at_once() -> None:
    mismatch = compare_calendar(asked(NEW_YORK, Calendar(ZoneInfo("UTC"), WeekStart.MONDAY)), NEW_YORK).mismatch
    assert mismatch is not None
    assert 'timezone = "UTC" and week_start = "monday"' in mismatch.detail


def test_weeks_from_saturday_fit_no_setting() -> None:
    first, last = weeks_to_probe(NEW_YORK, TODAY, 366)
    saturdays = [first - timedelta(days=1) + week * timedelta(days=7) for week in range(5)]
    mismatch = compare_calendar(
        page([str(NEW_YORK.midnight(day)) for day in saturdays], first, last), NEW_YORK
    ).mismatch
    assert mismatch is not None
    assert (mismatch.setting, mismatch.fits) == ("week_start", None)


def test_keys_that_begin_no_day_anywhere_are_a_mismatch_without_a_mend() -> None:
    first, last = weeks_to_probe(NEW_YORK, TODAY, 366)
    keys = [str(key + 1234) for key in NEW_YORK.grid(Period.WEEK, first, last)]
    mismatch = compare_calendar(page(keys, first, last), NEW_YORK).mismatch
    assert mismatch is not None
    assert mismatch.fits is None


def test_a_single_stray_key_accuses_nobody() -> None:
    first, last = weeks_to_probe(NEW_YORK, TODAY, 366)
    keys = [str(key) for key in NEW_YORK.grid(Period.WEEK, first, last)]
    verdict = compare_calendar(page([*keys, str(int(keys[1]) + 1234)], first, last), NEW_YORK)
    assert verdict.mismatch is None
    assert "stray" in verdict.text


def test_an_empty_answer_tells_nothing() -> None:
    first, last = weeks_to_probe(NEW_YORK, TODAY, 366)
    piece = Slice(Series("main", "performance", "ALL", Period.WEEK), first, last)
    verdict = compare_calendar(Page(piece, 0, {}), NEW_YORK)
    assert verdict.mismatch is None
    assert "unknown" in verdict.text


def test_somebody_elses_answer_is_none() -> None:
    first, last = weeks_to_probe(NEW_YORK, TODAY, 366)
    piece = Slice(Series("main", "performance", "ALL", Period.WEEK), first, last)
    with pytest.raises(PayloadError):
        compare_calendar(Page(piece, 0, {"weather": [("1", 1)]}), NEW_YORK)
