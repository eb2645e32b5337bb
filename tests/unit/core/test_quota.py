"""The quota against a model server: no window above the limit, no refusal, no endless wait."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.quota_steps import make_world
from tests.support.quota_world import World
from tests.support.window_server import WindowServer


@dataclass
class History:
    """The history of a client, drawn from one seed."""

    seed: int
    dates: bool = True
    others: bool = False  # another client spends, too
    names: bool = True  # the headers state limit, remaining and reset

    def play(self) -> World:
        random = Random(self.seed)  # noqa: S311 - a schedule, not a secret
        world = self._world(random)
        if self.others:
            world.at(world.now + 1, lambda: self._spend(world, random))
        limit, window = world.server.limit, world.server.window
        for _ in range(random.randrange(1, 9)):
            kind = random.choice(("work", "work", "idle", "sleep", "crash"))
            if kind == "work":
                wanted = random.randrange(1, limit * 2)
                assert world.work(wanted) == wanted
            elif kind == "idle":
                world.work(10**9, until=world.now + random.uniform(0, window))
            elif kind == "sleep":
                world.sleep(random.choice((1, window / 2, 5 * window)) * random.random())
            elif (
                self.names
            ):  # long enough for what is in flight to arrive; without headers nothing shows where it was counted
                world.crash(random.choice((0, 0, window)) * random.random() + window / 2)
        return world

    def _world(self, random: Random) -> World:
        window, limit = random.choice((8, 60, 900)), random.choice((12, 40))
        slow, slowest = random.choice((0, 0.05)), window / 5
        lose = random.choice((0, 0.03))
        configured = random.choice((window, window, 8, 900)) if self.dates and self.names and not lose else window
        world = World(
            WindowServer(
                limit=limit,
                window=window,
                ahead=random.choice((0, random.uniform(-5, 5), random.uniform(-1e5, 1e5))),
                drift=random.uniform(-1e-4, 1e-4),
                dates=self.dates,
                names_reset=self.names,
                names_remaining=self.names,
            ),
            random=random,
            reserve=random.choice((0, 3, limit // 2)),
            latency=lambda r: r.uniform(0.5, slowest) if r.random() < slow else r.uniform(0.001, 0.03),
            lose=lose,
            concurrency=random.choice((1, 3, 8)),
            configured_limit=random.choice((limit, limit + 30)) if self.names else limit,
            configured_window=configured,
            host_ahead=random.choice((0, random.uniform(-1e5, 1e5))),
        )
        world.now = random.uniform(0, 3 * window)
        world.start()
        return world

    def _spend(self, world: World, random: Random) -> None:
        for _ in range(random.randrange(1, 6)):
            world.server.count(world.now, "another client")
        world.at(world.now + random.uniform(0.1, world.server.window / 3), lambda: self._spend(world, random))


seeds = st.integers(0, 2**32)


@examples(120, derandomize=True)
@given(seed=seeds)
def test_no_window_counts_more_than_allowed_and_nothing_is_refused(seed: int) -> None:
    played = History(seed).play()
    assert played.server.most() <= played.server.limit - played.reserve
    assert played.server.refused == []


@examples(50, derandomize=True)
@given(seed=seeds)
def test_the_same_without_dates(seed: int) -> None:
    played = History(seed, dates=False).play()
    assert played.server.most() <= played.server.limit - played.reserve
    assert played.server.refused == []


@examples(50, derandomize=True)
@given(seed=seeds)
def test_the_same_with_nothing_but_dates(seed: int) -> None:
    played = History(seed, names=False).play()
    assert played.server.most() <= played.server.limit - played.reserve
    assert played.server.refused == []


@examples(50, derandomize=True)
@given(seed=seeds)
def test_beside_another_client_the_reserve_is_left(seed: int) -> None:
    played = History(seed, others=True).play()
    assert played.server.most() <= played.server.limit - played.reserve


@examples(60, derandomize=True)
@given(
    window=st.sampled_from((8, 15, 900)),
    ahead=st.sampled_from((0.0, 2.4, -2.4)) | st.floats(-8, 8),
    begin=st.floats(0, 8),
    concurrency=st.sampled_from((2, 8, 8, 32)),
)
@example(window=8, ahead=3.3, begin=0.5, concurrency=32)  # one Date in the first burst
@example(window=900, ahead=0.77, begin=0.8, concurrency=8)
def test_600_requests_end_at_most_a_second_and_a_quarter_after_the_earliest_moment(
    window: int, ahead: float, begin: float, concurrency: int
) -> None:
    # A burst may see a single Date, which is exact to a second; a quarter is for latency, and for drift over 900 s.
    world = make_world(window=window, begin=begin, ahead=ahead, concurrency=concurrency)
    left, now = 600, begin + 0.02 + 1e-6  # the limit is unknown before the first answer
    while left > 150:
        roll = world.server.next_roll(now)
        left -= min(150, int((roll - now) / 0.02) * concurrency)
        now = roll
    earliest = now + 0.02 * -(-left // concurrency)
    world.work(600)
    assert world.server.refused == []
    assert world.now <= earliest + 1.25


@pytest.mark.parametrize("drift", [50e-6, -50e-6])
def test_a_thousand_windows_of_drifting_clocks(drift: float) -> None:
    world = make_world(limit=2, configured_limit=2, drift=drift, ahead=7200.5)
    world.work(2000)
    assert world.server.refused == []
    assert world.server.total() == 2000
    windows = [index for index, _ in world.server.counts]
    assert max(windows) - min(windows) <= 1000  # each was used whole


def test_after_a_long_suspension_one_request_goes_first_and_one_window_is_used() -> None:
    world = make_world()
    world.work(150)
    world.sleep(40 * 900)
    world.work(150)
    assert sorted(world.server.counts.values()) == [150, 150]
    assert world.now < 41 * 900
    assert world.server.refused == []
