"""The estimated interval of the server's clock always holds the true time; the margin of a roll."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.quota import ServerClock
from harvester.core.quota.roll_margin import CLEAN_ROLLS, RollMargin

EPOCH = 1_700_000_000.0

gaps = st.lists(st.tuples(st.floats(0, 2000), st.floats(0.001, 20), st.floats(0, 1)), min_size=1, max_size=30)


def answers(
    schedule: list[tuple[float, float, float]], ahead: float, drift: float
) -> list[tuple[int, float, float, float]]:
    """(Date, sent, received, server's clock when received) for answers (gap, time under way, when in it made)."""
    now, made = 0.0, []
    for gap, took, share in schedule:
        sent = now + gap
        now = sent + took
        stamp = math.floor(EPOCH + ahead + (sent + took * share) * (1 + drift))
        made.append((stamp, sent, now, EPOCH + ahead + now * (1 + drift)))
    return made


@given(schedule=gaps, ahead=st.floats(-1e5, 1e5), drift=st.floats(-1e-4, 1e-4))
def test_the_interval_holds_the_truth_under_drift(
    schedule: list[tuple[float, float, float]], ahead: float, drift: float
) -> None:
    clock = ServerClock(low=0.0, high=0.0, at=0.0)
    for date, sent, received, truth in answers(schedule, ahead, drift):
        clock = clock.dated(date, sent, received)
        earliest, latest = clock.bounds(received)
        assert earliest - 1e-6 <= truth <= latest + 1e-6
        for later in (1.0, 900.0, 90_000.0):
            earliest, latest = clock.bounds(received + later)
            assert earliest - 1e-6 <= truth + later * (1 + drift) <= latest + 1e-6


@given(schedule=gaps, ahead=st.floats(-1e5, 1e5), after=st.floats(0, 5000))
def test_certain_and_possible_moments_are_the_ends_of_the_interval(
    schedule: list[tuple[float, float, float]], ahead: float, after: float
) -> None:
    clock = ServerClock(low=0.0, high=0.0, at=0.0)
    for date, sent, received, _ in answers(schedule, ahead, 0.0):
        clock = clock.dated(date, sent, received)
    earliest, latest = clock.bounds(clock.at + after)
    assert abs(clock.certain_from(earliest) - clock.at - after) < 1e-3
    assert abs(clock.possible_from(latest) - clock.at - after) < 1e-3


def width(clock: ServerClock, now: float) -> float:
    earliest, latest = clock.bounds(now)
    return latest - earliest


def test_quick_answers_over_a_second_leave_a_narrow_interval() -> None:
    clock = ServerClock(low=0.0, high=0.0, at=0.0)
    widths = []
    for date, sent, received, _ in answers([(0.02, 0.02, 0.5)] * 60, 0.3, 0.0):
        clock = clock.dated(date, sent, received)
        widths.append(width(clock, received))
    assert all(later <= earlier + 1e-4 for earlier, later in pairwise(widths))
    assert widths[0] > 1
    assert widths[-1] < 0.15


def test_after_a_step_only_the_newest_answer_counts() -> None:
    clock = ServerClock(low=0.0, high=0.0, at=0.0).dated(1000, 0.0, 0.01).dated(1001, 1.0, 1.01)
    for stepped in (4600, 500):
        clock = clock.dated(stepped, 2.0, 2.01)
        earliest, latest = clock.bounds(2.01)
        assert stepped - 0.1 <= earliest <= latest <= stepped + 1.1


def test_the_first_answer_replaces_the_guess() -> None:
    guess = ServerClock(low=0.5, high=0.5, at=0.0)
    assert width(guess, 0.0) == 0
    assert width(guess.dated(0, 0.0, 0.02), 0.02) > 1


def test_the_margin_grows_to_its_bound_and_shrinks_slowly() -> None:
    margin = RollMargin(900)
    seen = []
    for _ in range(7):
        margin.grow()
        seen.append(margin.seconds)
    assert seen == [1, 2, 4, 8, 16, 30, 30]
    for _ in range(CLEAN_ROLLS - 1):
        margin.rolled()
    assert margin.seconds == 30
    margin.rolled()
    assert margin.seconds == 15
    for _ in range(5 * CLEAN_ROLLS):
        margin.rolled()
    assert margin.seconds == 0


def test_the_margin_of_a_short_window_is_short() -> None:
    margin = RollMargin(8)
    margin.grow()
    assert margin.seconds == 0.5
    for _ in range(9):
        margin.grow()
    assert margin.seconds == 2
