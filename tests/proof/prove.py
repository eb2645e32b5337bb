"""`make prove`: scenario after scenario, for as long as told. A failing seed is printed, and replays exactly.

make prove                     ten minutes of fresh seeds
make prove MINUTES=480         a night of them
make prove SEEDS=123           this one again, with what was told last
make prove SEEDS=100-199,7     these
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.proof.simulation.daemon_sim import Simulation
from tests.proof.simulation.invariants import check
from tests.proof.simulation.world_of_faults import DAY, Scenario, scenario

_YEAR = 365.25 * DAY
_SHOWN = 60  # of the last things told, where one seed alone is asked for


@dataclass(frozen=True)
class Outcome:
    """How one scenario ended."""

    simulation: Simulation
    error: BaseException | None
    seconds: float  # of this machine

    @property
    def scenario(self) -> Scenario:
        """What was lived through."""
        return self.simulation.scenario

    def __str__(self) -> str:
        told = f"seed {self.scenario.seed}: {self.scenario.days} days in {self.seconds:.1f} s"
        told += f", {self.simulation.api.total} requests"
        return told if self.error is None else f"{told}: {type(self.error).__name__}: {self.error}"


def live(seed: int) -> Outcome:
    """Live through one scenario."""
    with TemporaryDirectory() as folder:
        simulation = Simulation(scenario(seed), Path(folder), check)
        began = time.perf_counter()
        error: BaseException | None = None
        try:
            simulation.run()
        except Exception as failure:  # noqa: BLE001 - whatever it is, the seed is worth knowing
            error = failure
        return Outcome(simulation, error, time.perf_counter() - began)


def _say(*lines: object) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _seeds(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _fresh(minutes: float) -> Iterator[int]:
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        yield random.randrange(10**9)  # noqa: S311 - which seeds are tried is free


def main(arguments: Sequence[str] | None = None) -> int:
    """Prove; returns 1 where a scenario failed."""
    parser = argparse.ArgumentParser(prog="make prove", description=__doc__)
    parser.add_argument("--seeds", default="", help="such as 7,100-199; fresh ones if none")
    parser.add_argument("--minutes", type=float, default=10.0, help="of fresh seeds")
    options = parser.parse_args(arguments)
    named = _seeds(options.seeds) if options.seeds else []
    failed: list[int] = []
    days, seconds, count = 0, 0.0, 0
    for seed in named or _fresh(options.minutes):
        outcome = live(seed)
        days, seconds, count = days + outcome.scenario.days, seconds + outcome.seconds, count + 1
        if outcome.error is not None:
            failed.append(seed)
            _say(outcome.scenario, *list(outcome.simulation.recent)[-_SHOWN:])
        _say(outcome)
    simulated = days * DAY
    _say(
        f"{count} scenarios, {simulated / _YEAR:.1f} simulated years in {seconds:.0f} s: "
        f"{simulated / max(seconds, 1e-9):,.0f} simulated seconds per second"
    )
    for seed in failed:
        _say(f"FAILED: make prove SEEDS={seed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
