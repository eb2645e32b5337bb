"""The circuit breaker opens, probes and closes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.breaker import FAILURE_EXPIRES, GIVE_UP_AFTER, OPENING_SILENCE, Breaker


def test_twenty_failures_over_four_slices_open_it() -> None:
    breaker = Breaker()
    for number in range(19):
        breaker.failed(number % 4, 100, sent=number / 100, now=number / 100)
        assert not breaker.is_open
    breaker.failed(3, 100, sent=0.2, now=0.2)
    assert breaker.is_open


def test_one_slice_alone_never_opens_it_quickly() -> None:
    breaker = Breaker()
    for number in range(50):
        breaker.failed("same", 100, sent=number / 100, now=number / 100)
    assert not breaker.is_open


def test_an_answer_closes_it_and_counting_starts_again() -> None:
    breaker = Breaker()
    for number in range(20):
        breaker.failed(number, 100, sent=0, now=0)
    assert breaker.answered()
    assert not breaker.is_open
    for number in range(19):
        breaker.failed(number, 100, sent=1, now=1)
    assert not breaker.is_open
    assert not breaker.answered()


@given(st.integers(1, 8), st.integers(1, 200), st.floats(0.1, 60))
def test_an_api_that_does_not_answer_is_recognised_within_three_minutes(
    workers: int, slices: int, timeout: float
) -> None:
    breaker, now, asked = Breaker(), 0.0, 0
    while now <= 180:
        now += timeout
        for _ in range(min(workers, slices)):
            breaker.failed(asked % slices, slices - 1, now - timeout, now)
            asked += 1
        if breaker.is_open:
            break
    while (pause := breaker.next_probe(now)) is not None:
        now += pause + timeout
        breaker.failed(0, slices - 1, now - timeout, now)
    if slices >= 4 or timeout > 30:
        assert now <= 180 + 1e-6


def test_probes_pause_longer_each_time_until_they_are_given_up() -> None:
    breaker = Breaker()
    for number in range(20):
        breaker.failed(number, 100, sent=0, now=0)
    assert [breaker.next_probe(now) for now in (0, 1, 3, 7, 15)] == [1, 2, 4, 8, 16]
    assert breaker.next_probe(GIVE_UP_AFTER) is None


def test_after_days_of_probing_it_still_pauses() -> None:
    breaker = Breaker()
    breaker.failed("a", 0, sent=0, now=0)
    breaker.trip(0)
    assert {breaker.next_probe(now, give_up_after=float("inf")) for now in range(3000)} >= {1, 2, 4, 8, 16, 32, 60}
    assert breaker.next_probe(3000, give_up_after=float("inf")) == 60


def test_a_failure_before_a_long_wait_no_longer_counts() -> None:
    # The last request of a window fails, and so does the first one of the next: two failures, not a silence of minutes.
    breaker = Breaker()
    breaker.failed("a", 100, sent=0, now=1)
    breaker.failed("b", 100, sent=1 + FAILURE_EXPIRES, now=2 + max(FAILURE_EXPIRES, OPENING_SILENCE))
    assert not breaker.is_open
    for number in range(19):
        breaker.failed(number, 100, sent=62, now=70)
    assert breaker.is_open
    assert breaker.next_probe(70) == 1, "the time to give up begins with the failures that count"
