"""The pause before a failed request is sent again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.retry import FIRST_PAUSE, LONGEST_PAUSE, MAX_ATTEMPTS, pause


def test_a_pause_doubles_from_half_a_second() -> None:
    longest = [pause(attempt, 1 - 1e-12) for attempt in range(1, MAX_ATTEMPTS)]
    assert [round(seconds, 6) for seconds in longest] == [0.5, 1.0, 2.0, 4.0]


@given(attempt=st.integers(1, 10**9), jitter=st.floats(0, 1, exclude_max=True))
def test_a_pause_stays_within_its_upper_half(attempt: int, jitter: float) -> None:
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 1, 100))
    assert longest / 2 <= pause(attempt, jitter) <= longest
