"""The quota against a model server: odd servers, odd clocks, other clients."""

from __future__ import annotations

from random import Random

import pytest

from tests.support.quota_steps import make_world

SLOW = pytest.mark.slow


def test_an_old_reset_after_the_roll_adds_a_margin() -> None:
    """Another machine's clock writes the Date: it is 3 s ahead of the one that counts."""
    world = make_world(date_ahead=3.0)
    world.work(150 * 20)
    refused = [moment for moment, _ in world.server.refused]
    assert 1 <= len(refused) <= 4  # until the margin is long enough
    assert max(refused) < 3 * 900
    assert world.quota.margin.seconds >= 2
    assert world.server.total() == 3000
    assert world.now < 19 * 900 + 10


@pytest.mark.parametrize("dates", [True, False])
def test_without_headers_windows_are_fixed_by_configuration(dates: bool) -> None:  # noqa: FBT001 - a parameter
    ahead = 333.3 if dates else 0.0  # without any header the host's clock is all there is
    world = make_world(names_reset=False, names_remaining=False, dates=dates, ahead=ahead)
    world.work(600)
    assert sorted(world.server.counts.values()) == [150] * 4
    assert world.server.refused == []


def test_lost_dates_do_not_stop_the_windows() -> None:
    world = make_world(limit=5, ahead=-4000.0, drift=50e-6)
    world.work(10)
    world.server.dates = False
    world.work(5 * 300)
    assert world.server.refused == []
    windows = [index for index, _ in world.server.counts]
    assert max(windows) - min(windows) <= 304


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -2.0, 2.0])
def test_a_stepped_server_clock_is_followed(step: float) -> None:
    world = make_world(window=60, ahead=10.0)
    world.work(100)
    world.server.ahead += step
    world.work(1000)
    assert len(world.server.refused) <= 2
    assert world.now < 60 * 9


def test_dates_far_from_the_counting_clock_cause_no_spinning() -> None:
    world = make_world(date_ahead=100.0)
    world.work(150 * 6)
    assert len(world.server.refused) <= 15
    assert world.now < 900 * 13  # every second window, at worst


def test_a_longer_window_without_any_date_is_found_with_few_requests() -> None:
    world = make_world(window=3600, dates=False)
    world.configured_window = 8
    world.start()
    world.work(450)
    assert len(world.server.refused) <= 30
    assert world.server.most() == 150
    assert world.now < 3600 * 6


def test_without_headers_requests_go_in_parallel_after_three_answers() -> None:
    world = make_world(names_reset=False, names_remaining=False)
    world.work(150)
    assert world.now < 1.0 + 0.02 * (3 + 150 / 8 + 1)


@pytest.mark.parametrize("configured", [8, 60, 3600])
def test_another_length_than_configured_is_followed(configured: int) -> None:
    world = make_world(window=600)
    world.configured_window = configured
    world.start()
    world.work(450)
    assert sorted(world.server.counts.values()) == [150] * 3
    assert world.server.refused == []


def test_another_client_is_recognised_by_remaining_for_one_window() -> None:
    world = make_world()
    for _ in range(100):
        world.server.count(world.now, "another client")
    world.work(49 + 149 + 150)
    assert sorted(world.server.counts.values()) == [49, 100, 149, 150]
    assert world.server.refused == []


@pytest.mark.parametrize("concurrency", [pytest.param(1, marks=SLOW), 8, pytest.param(16, marks=SLOW), 32])
def test_beside_another_client_hardly_any_window_ends_in_a_refusal(concurrency: int) -> None:
    # 30 requests a window of theirs, at random; each of ours takes a fiftieth of a second. Without care: two in three.
    random = Random(1)  # noqa: S311 - a schedule, not a secret
    world = make_world(window=8, concurrency=concurrency)
    windows = 100

    def spend() -> None:
        world.server.count(world.now, "another client")
        world.at(world.now + random.expovariate(30 / 8), spend)

    world.at(world.now + 0.1, spend)
    world.work(10**9, until=world.now + 8 * windows)
    assert world.done >= 140 * windows
    assert len([who for _, who in world.server.refused if who == "us"]) <= 5
