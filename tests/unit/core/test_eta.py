from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.eta import Eta, Supply, estimate_eta


def supply(left: int = 150, until_reset: float = 450.0, rate: float = 20.0) -> Supply:
    return Supply(per_window=150, window=900.0, rate=rate, left=left, until_reset=until_reset)


def test_no_requests_take_no_time() -> None:
    assert estimate_eta(0, supply()) == Eta(0, 0.0)


def test_requests_that_fit_into_the_window_take_as_long_as_pacing() -> None:
    assert estimate_eta(150, supply()) == Eta(1, 7.5)


def test_600_requests_take_three_resets() -> None:
    assert estimate_eta(600, supply()) == Eta(4, 450 + 2 * 900 + 7.5)


def test_a_spent_window_is_not_counted() -> None:
    assert estimate_eta(10, supply(left=0)) == Eta(1, 450 + 0.5)


@given(st.integers(1, 10_000), st.integers(0, 200), st.floats(0, 900))
def test_more_requests_never_end_earlier(requests: int, left: int, until_reset: float) -> None:
    seen = supply(left, until_reset)
    assert estimate_eta(requests, seen).seconds <= estimate_eta(requests + 1, seen).seconds
    assert estimate_eta(requests, seen).windows * 150 >= requests
