from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.forecast import Forecast, Supply, forecast


def supply(left: int = 150, until_reset: float = 450.0, rate: float = 20.0) -> Supply:
    return Supply(per_window=150, window=900.0, rate=rate, left=left, until_reset=until_reset)


def test_nothing_takes_nothing() -> None:
    assert forecast(0, supply()) == Forecast(0, 0.0)


def test_what_fits_takes_as_long_as_pacing_does() -> None:
    assert forecast(150, supply()) == Forecast(1, 7.5)


def test_600_requests_take_three_resets() -> None:
    assert forecast(600, supply()) == Forecast(4, 450 + 2 * 900 + 7.5)


def test_a_spent_window_is_not_counted() -> None:
    assert forecast(10, supply(left=0)) == Forecast(1, 450 + 0.5)


@given(st.integers(1, 10_000), st.integers(0, 200), st.floats(0, 900))
def test_more_requests_never_end_earlier(requests: int, left: int, until_reset: float) -> None:
    seen = supply(left, until_reset)
    assert forecast(requests, seen).seconds <= forecast(requests + 1, seen).seconds
    assert forecast(requests, seen).windows * 150 >= requests
