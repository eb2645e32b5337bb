"""The lag of a series behind what the API could give."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.freshness import freshness_lag
from harvester.core.period import Calendar, Period

EASTERN = Calendar(ZoneInfo("America/New_York"))
HOUR = 3600

periods = st.sampled_from(Period)
days = st.dates(date(2015, 1, 1), date(2035, 1, 1))


def test_a_day_that_is_not_over_is_not_late() -> None:
    yesterday, today = date(2024, 3, 9), date(2024, 3, 10)
    end = EASTERN.midnight(date(2024, 3, 11))  # of a day of 23 hours
    for now in (EASTERN.midnight(today), end - 1, end):
        assert freshness_lag(yesterday, date(2024, 1, 1), Period.DAY, EASTERN, now) == 0
    assert freshness_lag(yesterday, date(2024, 1, 1), Period.DAY, EASTERN, end + HOUR) == HOUR


@pytest.mark.parametrize(
    ("period", "newest", "next_end"),
    [
        (Period.WEEK, date(2024, 3, 9), date(2024, 3, 17)),  # a Saturday, the week's last day
        (Period.WEEK, date(2024, 3, 3), date(2024, 3, 17)),  # the same week's first
        (Period.MONTH, date(2024, 1, 31), date(2024, 3, 1)),
        (Period.MONTH, date(2023, 12, 1), date(2024, 2, 1)),
    ],
)
def test_weeks_and_months_are_late_after_their_end(period: Period, newest: date, next_end: date) -> None:
    now = EASTERN.midnight(next_end) + 5
    assert freshness_lag(newest, date(2020, 1, 1), period, EASTERN, now) == 5


def test_without_a_complete_period_the_lag_counts_from_the_end_of_the_first_wanted_one() -> None:
    now = EASTERN.midnight(date(2024, 1, 2)) + 10
    assert freshness_lag(None, date(2024, 1, 1), Period.DAY, EASTERN, now) == 10
    assert freshness_lag(None, date(2024, 1, 1), Period.MONTH, EASTERN, now) == 0


def test_periods_before_the_start_do_not_matter() -> None:
    now = EASTERN.midnight(date(2024, 1, 2))
    assert freshness_lag(date(2020, 5, 5), date(2024, 1, 1), Period.DAY, EASTERN, now) == 0


@given(periods, days, st.integers(0, 400 * 86_400), st.integers(0, 90 * 86_400))
def test_the_lag_grows_with_time_and_is_never_negative(period: Period, newest: date, age: int, later: int) -> None:
    now = EASTERN.midnight(newest) + age
    lag = freshness_lag(newest, newest, period, EASTERN, now)
    assert 0 <= lag <= freshness_lag(newest, newest, period, EASTERN, now + later) <= lag + later


@given(periods, days, st.integers(0, 400))
def test_a_newer_complete_period_never_increases_the_lag(period: Period, newest: date, more: int) -> None:
    now = EASTERN.midnight(newest) + 500 * 86_400
    newer = newest + timedelta(days=more)
    assert freshness_lag(newer, newest, period, EASTERN, now) <= freshness_lag(newest, newest, period, EASTERN, now)
