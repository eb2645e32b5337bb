"""The formula of every growing pause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.backoff import backoff

attempts = st.integers(-5, 10**9)
seconds = st.floats(0.01, 1000)


@given(attempts, seconds, seconds)
def test_a_pause_doubles_with_each_attempt_up_to_the_longest(attempt: int, first: float, longest: float) -> None:
    pause, following = backoff(first, attempt, longest), backoff(first, attempt + 1, longest)
    assert min(first, longest) <= pause <= following <= longest
    assert following == min(longest, 2 * pause if attempt >= 1 else first)


@pytest.mark.parametrize("attempt", [-1, 0, 1])
def test_less_than_one_attempt_counts_as_one(attempt: int) -> None:
    assert backoff(3.0, attempt, 100.0) == 3.0


def test_after_days_of_attempts_the_pause_is_the_longest() -> None:
    assert backoff(0.5, 10**6, 30.0) == 30.0
