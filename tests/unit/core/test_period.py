from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.period import Calendar, Period, WeekStart
from tests.support.examples import examples

ZONES = (
    "America/New_York",  # clocks change at 02:00
    "America/Sao_Paulo",  # midnight was skipped in spring until 2018
    "Asia/Beirut",  # midnight skipped in spring, doubled in autumn
    "America/St_Johns",  # until 2011 the clocks changed at 00:01
    "Pacific/Apia",  # had no 2011-12-30
    "Asia/Kathmandu",  # +05:45
    "UTC",
)
zones = st.sampled_from(ZONES).map(ZoneInfo)
days = st.dates(date(1999, 1, 1), date(2035, 12, 31))
calendars = st.builds(Calendar, zones, st.sampled_from(WeekStart))
APIA = Calendar(ZoneInfo("Pacific/Apia"))
NEW_YORK = Calendar(ZoneInfo("America/New_York"))


@given(calendars, days)
@examples(200)
def test_midnight_is_the_first_instant_of_its_day(calendar: Calendar, day: date) -> None:
    midnight = calendar.midnight(day)
    if calendar == Calendar(APIA.zone, calendar.week_start) and day == date(2011, 12, 30):
        return
    assert calendar.local_date(midnight) == day
    assert calendar.local_date(midnight - 1) < day


@given(calendars, days)
@examples(200)
def test_days_follow_each_other_with_a_length_that_a_clock_change_can_explain(calendar: Calendar, day: date) -> None:
    length = calendar.midnight(day + timedelta(days=1)) - calendar.midnight(day)
    assert 0 <= length <= 25 * 3600 + 60


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2024, 3, 10), 23), (date(2024, 11, 3), 25), (date(2024, 7, 4), 24), (date(2024, 2, 29), 24)],
)
def test_days_of_a_clock_change_have_23_or_25_hours(day: date, hours: int) -> None:
    assert NEW_YORK.midnight(day + timedelta(days=1)) - NEW_YORK.midnight(day) == hours * 3600


def test_the_published_sample_begins_at_midnight_in_new_york() -> None:
    assert NEW_YORK.midnight(date(2018, 2, 1)) == 1517461200


def test_a_skipped_midnight_is_the_first_instant_after_the_gap() -> None:
    calendar = Calendar(ZoneInfo("America/Sao_Paulo"))
    assert datetime.fromtimestamp(calendar.midnight(date(2018, 11, 4)), UTC) == datetime(2018, 11, 4, 3, tzinfo=UTC)


def test_a_day_that_the_zone_skips_is_in_no_grid() -> None:
    grid = APIA.grid(Period.DAY, date(2011, 12, 29), date(2011, 12, 31))
    assert list(grid.values()) == [date(2011, 12, 29), date(2011, 12, 31)]


@given(calendars, st.sampled_from(Period), days, st.integers(0, 800))
@examples(100)
def test_periods_tile_the_days(calendar: Calendar, period: Period, first: date, width: int) -> None:
    last = first + timedelta(days=width)
    day = calendar.floor(period, first)
    assert day <= first
    while day <= last:
        following = calendar.following(period, day)
        assert calendar.floor(period, following - timedelta(days=1)) == day
        assert calendar.floor(period, following) == following
        assert calendar.last(period, day) == following - timedelta(days=1)
        day = following


@given(calendars, days)
def test_a_week_begins_on_its_day(calendar: Calendar, day: date) -> None:
    first = calendar.floor(Period.WEEK, day)
    assert first.strftime("%A").lower() == calendar.week_start
    assert day - first < timedelta(days=7)


def test_starts_leaves_out_a_period_that_began_before() -> None:
    assert list(NEW_YORK.starts(Period.MONTH, date(2024, 1, 2), date(2024, 3, 1))) == [
        date(2024, 2, 1),
        date(2024, 3, 1),
    ]
