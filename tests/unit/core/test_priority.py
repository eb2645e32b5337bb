from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.coverage import Span
from harvester.core.model import Series, Slice, Stretch
from harvester.core.period import Calendar, Period
from harvester.core.planning import Rules, Stored
from harvester.core.priority import FIRST_COOLDOWN, LONGEST_COOLDOWN, Priority, cooldown_left, priority_by

DAYS = Series("main", "performance", "1", Period.DAY)
WEEKS = Series("main", "performance", "1", Period.WEEK)
RULES = Rules(Calendar(ZoneInfo("America/New_York")), today=date(2024, 6, 20), settle_days=3)
COVERED = Stretch(date(2024, 3, 1), date(2024, 5, 31), date(2024, 6, 10), 9)
STORED = Stored({DAYS: [COVERED]}, {DAYS: [Span(date(2023, 1, 1), date(2023, 1, 31))]})


def priority(series: Series, first: date, last: date) -> Priority:
    return priority_by(STORED, RULES)(Slice(series, first, last))


def test_a_slice_that_may_still_change_is_fresh() -> None:
    assert priority(DAYS, date(2024, 6, 16), date(2024, 6, 20)) is Priority.FRESH
    assert priority(DAYS, date(2023, 6, 20), date(2024, 6, 20)) is Priority.FRESH, "a new phone's first slice"
    assert priority(DAYS, date(2024, 6, 1), date(2024, 6, 16)) is not Priority.FRESH
    assert priority(WEEKS, date(2024, 6, 9), date(2024, 6, 17)) is Priority.FRESH


def test_a_hole_and_a_failed_slice_are_repairs() -> None:
    assert priority(DAYS, date(2024, 6, 1), date(2024, 6, 10)) is Priority.REPAIR
    assert priority(DAYS, date(2023, 1, 20), date(2023, 2, 10)) is Priority.REPAIR


def test_a_slice_older_than_anything_stored_is_the_past() -> None:
    assert priority(DAYS, date(2024, 1, 1), date(2024, 2, 29)) is Priority.PAST
    assert priority(WEEKS, date(2024, 1, 7), date(2024, 2, 10)) is Priority.PAST


@given(st.integers(0, 10_000), st.integers(0, 200_000))
def test_the_cool_down_doubles_with_each_failure_up_to_a_day(attempts: int, waited: int) -> None:
    left = cooldown_left(attempts, 1000, 1000 + waited)
    assert 0 <= left <= LONGEST_COOLDOWN
    assert left <= cooldown_left(attempts + 1, 1000, 1000 + waited)
    assert cooldown_left(attempts, 1000, 1000 + LONGEST_COOLDOWN) == 0
    assert cooldown_left(1, 1000, 1000) == FIRST_COOLDOWN
    assert cooldown_left(2, 1000, 1000) == 2 * FIRST_COOLDOWN


def test_a_failure_in_the_future_of_a_stepped_clock_has_no_cool_down() -> None:
    assert cooldown_left(1, 5000, 1000) == 0
