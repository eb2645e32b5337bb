"""Fixed windows on the server's clock, with another client in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harvester.simulator.quota import Meter


@given(
    limit=st.integers(1, 12),
    window=st.integers(1, 30),
    neighbour=st.integers(0, 15),
    moments=st.lists(st.floats(0, 120), max_size=60),
)
def test_every_window_grants_its_limit_and_no_more(
    limit: int, window: int, neighbour: int, moments: list[float]
) -> None:
    meter = Meter(limit, window, neighbour=neighbour, key=("main",))
    for at in sorted(moments):
        left = meter.remaining(at)
        assert meter.charge(at) == (left > 0)
        assert meter.remaining(at) == max(0, left - 1)
        assert meter.reset(at) % window == 0
        assert at < meter.reset(at) <= at + window
    for start, window_counts in meter.windows.items():
        sent = sum(start <= at < start + window for at in moments)
        assert window_counts.charged + window_counts.neighbour <= limit
        assert window_counts.charged + window_counts.refused == sent
        assert window_counts.charged == window_counts.sent


def test_the_neighbour_spends_at_the_same_moments_in_every_run() -> None:
    def left(account: str) -> list[int]:
        meter = Meter(150, 900, neighbour=60, key=(account,))
        return [meter.remaining(second) for second in range(0, 1800, 60)]

    first, second = left("main")[:15], left("main")[15:]
    assert left("main") == first + second
    assert left("other") != first + second
    assert first != second
    for spread in (first, second):
        assert spread == sorted(spread, reverse=True)
        assert spread[0] == 150
        assert 90 <= spread[-1] < 105
        assert len(set(spread)) > 8


def test_the_neighbour_gets_no_more_than_what_is_left() -> None:
    meter = Meter(5, 900, neighbour=100, key=("main",))
    assert [meter.charge(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert meter.window(899.9).neighbour == 0
    assert meter.spend(3, 901.0) == 3
    assert meter.spend(30, 901.0) <= 2


def test_a_clock_that_steps_back_returns_to_the_counts_of_the_old_window() -> None:
    meter = Meter(2, 10)
    assert meter.charge(12.0)
    assert meter.charge(25.0)
    assert meter.remaining(12.0) == 1
