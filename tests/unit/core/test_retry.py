"""When a failed request is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.retry import FIRST_PAUSE, LONGEST_PAUSE, MAX_ATTEMPTS, GiveUp, Retry, decide, pause
from harvester.errors import (
    CalendarMismatch,
    CredentialsRefused,
    HarvesterError,
    Outage,
    PayloadError,
    SliceRejected,
    SourceUnavailable,
    StoreError,
    Throttled,
    Unauthorized,
    Unreachable,
)

DOWN = SourceUnavailable("x", outage=Outage.SERVER)
JITTER = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize("error", [DOWN, PayloadError("x")])
def test_five_tries_are_the_most(error: HarvesterError) -> None:
    decisions = [decide(error, attempt, 0.0) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert [type(decision) for decision in decisions] == [Retry] * 4 + [GiveUp]


@pytest.mark.parametrize("error", [DOWN, PayloadError("x")])
def test_a_pause_doubles_from_half_a_second(error: HarvesterError) -> None:
    almost_one = 1 - 1e-12
    longest = [decide(error, attempt, almost_one) for attempt in range(1, MAX_ATTEMPTS)]
    assert [round(retry.after, 6) for retry in longest if isinstance(retry, Retry)] == [0.5, 1.0, 2.0, 4.0]


@given(attempt=st.integers(1, 10**9), jitter=JITTER)
def test_a_pause_stays_within_its_upper_half(attempt: int, jitter: float) -> None:
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 1, 100))
    assert longest / 2 <= pause(attempt, jitter) <= longest


@given(attempt=st.integers(1, 1000), jitter=JITTER)
def test_being_throttled_costs_no_try_however_often(attempt: int, jitter: float) -> None:
    assert decide(Throttled(), attempt, jitter) == Retry(after=0.0, counts=False)


@pytest.mark.parametrize(
    "error",
    [
        SliceRejected("x"),
        Unauthorized("x", generation=1),
        CalendarMismatch("x", setting="timezone", fits=None),
        CredentialsRefused("x"),
        Unreachable("x"),
        StoreError("x"),
    ],
)
def test_what_would_be_answered_the_same_way_is_given_up(error: HarvesterError) -> None:
    assert decide(error, 1, 0.5) == GiveUp()
