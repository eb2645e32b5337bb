"""Ten years of a daemon's life over many scenarios, seven of them in `make test`: the short form of `make prove`.

A scenario that fails says its seed; `make prove SEEDS=that` lives through it again, step by step the same.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.proof.prove import live
from tests.proof.simulation.world_of_faults import What, scenario
from tests.support.process import CHECKOUT

SEVEN_YEARS, TEN_YEARS = 2557, 3653  # days
SEEDS = range(1, 31)
LONG = frozenset({2, 8, 11, 17, 24, 27, 28, 29})  # three fifths of the time for a quarter of the days
_DIGEST = """
from tests.proof.prove import live
outcome = live({seed})
print(outcome.error, outcome.simulation.digest.hexdigest())
"""


@pytest.mark.parametrize("seed", [pytest.param(one, marks=pytest.mark.slow) if one in LONG else one for one in SEEDS])
def test_nothing_is_lost_doubled_overspent_or_stuck(seed: int) -> None:
    outcome = live(seed)
    if outcome.error is not None:
        sys.stdout.write("\n".join(map(str, (outcome.scenario, *outcome.simulation.recent))))
        raise outcome.error
    assert outcome.simulation.emitted["committed"] > 0


@pytest.mark.parametrize(("left_out", "days"), [(LONG, SEVEN_YEARS), (frozenset[int](), TEN_YEARS)])
def test_the_seeds_make_so_many_years_and_hold_everything_that_can_happen(left_out: frozenset[int], days: int) -> None:
    scenarios = [scenario(seed) for seed in SEEDS if seed not in left_out]
    assert sum(one.days for one in scenarios) >= days
    assert {happening.what for one in scenarios for happening in one.happenings} == set(What)
    assert any(one.steps_server for one in scenarios)
    assert any(one.late_days > one.wishes.settle_days for one in scenarios)


def test_a_seed_replays_exactly_whatever_python_makes_of_hashes() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", _DIGEST.format(seed=18)],
            env={**os.environ, "PYTHONHASHSEED": str(hashes), "PYTHONPATH": str(CHECKOUT)},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashes in (1, 2)
    }
    assert len(said) == 1, said
    assert next(iter(said)).startswith("None ")
