"""The quota beside a model server: odd servers, odd clocks, other users."""

from __future__ import annotations

from random import Random

import pytest

from tests.support.quota_steps import world

SLOW = pytest.mark.slow


def test_an_old_reset_after_our_roll_waits_again_with_a_margin() -> None:
    """Another machine's clock writes the Date: it is 3 s ahead of the one that counts."""
    made = world(date_ahead=3.0)
    made.work(150 * 20)
    refused = [moment for moment, _ in made.server.refused]
    assert 1 <= len(refused) <= 4  # until the margin is learnt
    assert max(refused) < 3 * 900
    assert made.quota.margin.seconds >= 2
    assert made.server.total() == 3000
    assert made.now < 19 * 900 + 10


@pytest.mark.parametrize("dates", [True, False])
def test_without_headers_windows_are_fixed_by_configuration(dates: bool) -> None:  # noqa: FBT001 - a parameter
    ahead = 333.3 if dates else 0.0  # without any header the host's clock is all there is
    made = world(names_reset=False, names_remaining=False, dates=dates, ahead=ahead)
    made.work(600)
    assert sorted(made.server.counts.values()) == [150] * 4
    assert made.server.refused == []


def test_lost_dates_do_not_stop_the_windows() -> None:
    made = world(limit=5, ahead=-4000.0, drift=50e-6)
    made.work(10)
    made.server.dates = False
    made.work(5 * 300)
    assert made.server.refused == []
    windows = [index for index, _ in made.server.counts]
    assert max(windows) - min(windows) <= 304


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -2.0, 2.0])
def test_a_stepped_server_clock_is_followed(step: float) -> None:
    made = world(window=60, ahead=10.0)
    made.work(100)
    made.server.ahead += step
    made.work(1000)
    assert len(made.server.refused) <= 2
    assert made.now < 60 * 9


def test_dates_far_from_the_clock_that_counts_do_not_make_us_spin() -> None:
    made = world(date_ahead=100.0)
    made.work(150 * 6)
    assert len(made.server.refused) <= 15
    assert made.now < 900 * 13  # every second window, at worst


def test_a_longer_window_without_any_date_is_found_by_asking_seldom() -> None:
    made = world(window=3600, dates=False)
    made.configured_window = 8
    made.start()
    made.work(450)
    assert len(made.server.refused) <= 30
    assert made.server.most() == 150
    assert made.now < 3600 * 6


def test_without_headers_requests_go_side_by_side_after_three_answers() -> None:
    made = world(names_reset=False, names_remaining=False)
    made.work(150)
    assert made.now < 1.0 + 0.02 * (3 + 150 / 8 + 1)


@pytest.mark.parametrize("configured", [8, 60, 3600])
def test_another_length_than_configured_is_believed(configured: int) -> None:
    made = world(window=600)
    made.configured_window = configured
    made.start()
    made.work(450)
    assert sorted(made.server.counts.values()) == [150] * 3
    assert made.server.refused == []


def test_somebody_else_is_seen_in_remaining_and_forgotten_with_the_next_window() -> None:
    made = world()
    for _ in range(100):
        made.server.count(made.now, "somebody else")
    made.work(49 + 149 + 150)
    assert sorted(made.server.counts.values()) == [49, 100, 149, 150]
    assert made.server.refused == []


@pytest.mark.parametrize("concurrency", [pytest.param(1, marks=SLOW), 8, pytest.param(16, marks=SLOW), 32])
def test_beside_somebody_else_hardly_any_window_ends_in_a_refusal(concurrency: int) -> None:
    # 30 requests a window of theirs, at random; each of ours takes a fiftieth of a second. Without care: two in three.
    random = Random(1)  # noqa: S311 - a schedule, not a secret
    made = world(window=8, concurrency=concurrency)
    windows = 100

    def spend() -> None:
        made.server.count(made.now, "somebody else")
        made.at(made.now + random.expovariate(30 / 8), spend)

    made.at(made.now + 0.1, spend)
    made.work(10**9, until=made.now + 8 * windows)
    assert made.done >= 140 * windows
    assert len([who for _, who in made.server.refused if who == "us"]) <= 5
