"""kill -9 at every step of a small run and at chosen moments of larger ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random

import pytest

from harvester.simulator.options import Account, Options
from tests.support.rig import Desired, Rig

NEAR = Options(latency=0.02, jitter=0.3)
SMALL = Desired(phones=("8005550001", "8005550002", "ALL"), first=date(2023, 1, 1), last=date(2023, 1, 31), max_days=8)
SLICES = 12
TIGHT = replace(NEAR, limit=5)  # three windows for twelve slices: deaths fall before, into and after waits


def assert_next_run_completes(rig: Rig, slices: int) -> None:
    process = rig.run()
    assert process.error is None
    assert rig.rows() == rig.truth()
    assert rig.most_per_window() <= min(rig.api.options.limit, rig.desired.limit) - rig.desired.reserve
    assert 429 not in rig.statuses()
    deaths = len(rig.processes) - 1
    assert slices <= len(rig.visits) <= slices + deaths * 2 * rig.desired.concurrency
    assert rig.run().report.requests == 0, "all is final, so nothing is left to request"


def steps_of(path: Path, desired: Desired, options: Options, account: Account | None) -> int:
    rig = Rig(path, desired, options, account)
    process = rig.run()
    assert process.report.slices.done == SLICES
    return process.loop.steps


@pytest.mark.parametrize("account", [Account(), Account(direct=True)], ids=["tool", "direct"])
@pytest.mark.parametrize("away", [0.0, 200.0])
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_death_at_any_step_costs_only_what_was_in_flight(
    tmp_path: Path, every: int, away: float, account: Account
) -> None:
    desired = replace(SMALL, concurrency=3, limit=5)
    steps = steps_of(tmp_path / "whole.db", desired, TIGHT, account)
    # While the process waits it only sleeps, and one sleep is as good as another to die after.
    chosen = sorted({*range(0, 160, 3), *Random(7).sample(range(160, steps), 40)})  # noqa: S311 - steps, not a secret
    for step in chosen[::every]:
        rig = Rig(tmp_path / f"{step}.db", desired, TIGHT, account)
        assert rig.run(dies_at=step).died
        rig.wait(away)
        assert_next_run_completes(rig, SLICES)


def test_death_after_death_still_ends(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", replace(SMALL, concurrency=3, limit=5), TIGHT)
    random = Random(11)  # noqa: S311 - steps, not a secret
    for _ in range(12):
        rig.run(dies_at=random.randrange(40, 260))
        rig.wait(random.choice([0.0, 1.0, 90.0]))
    assert_next_run_completes(rig, SLICES)


@pytest.mark.parametrize("moment", [0.5, 1.99, 3.7, 7.4, 602.0])
@pytest.mark.parametrize("reserve", [0, 40])
@pytest.mark.parametrize("host_ahead", [0.0, -3600.0])
def test_what_is_in_flight_at_death_is_counted(tmp_path: Path, moment: float, reserve: int, host_ahead: float) -> None:
    # Slow answers: up to 16 requests are under way or unstored, and the server counts them after the death.
    desired = Desired(max_days=8, reserve=reserve)
    rig = Rig(tmp_path / "store.db", desired, Options(latency=1.0, jitter=2.0), host_ahead=host_ahead)
    slices = 5 * 46
    assert rig.run({moment: lambda process: process.kill()}).died
    assert_next_run_completes(rig, slices)


@pytest.mark.parametrize("concurrency", [1, 3, 8])
@pytest.mark.parametrize("store_delay", [0.5, 4.0, 70.0])
def test_no_more_answers_wait_to_be_stored_than_the_capacity(
    tmp_path: Path, concurrency: int, store_delay: float
) -> None:
    rig = Rig(tmp_path / "store.db", replace(SMALL, max_days=1, concurrency=concurrency), Options(latency=0.02))
    rig.store_delay = store_delay
    process = rig.run()
    assert process.error is None
    assert concurrency < process.most_unstored <= 2 * concurrency
    assert rig.rows() == rig.truth()


def test_workers_that_wait_for_capacity_do_not_block_each_other(tmp_path: Path) -> None:
    desired = replace(SMALL, max_days=1, limit=10_000, rate=1e9)  # only the store makes workers wait
    rig = Rig(tmp_path / "store.db", desired, Options(limit=10_000))
    rig.store_delay = 0.01
    process = rig.run({0.5: lambda process: process.kill()})
    assert not process.died
    assert rig.rows() == rig.truth()


@pytest.mark.parametrize("store_delay", [0.5, 4.0])
def test_a_kill_while_the_store_is_slow_costs_at_most_the_capacity(tmp_path: Path, store_delay: float) -> None:
    rig = Rig(tmp_path / "store.db", replace(SMALL, max_days=1), Options(latency=0.3))
    rig.store_delay = store_delay
    assert rig.run({3.0: lambda process: process.kill()}).died
    rig.store_delay = 0.0
    assert_next_run_completes(rig, 93)
