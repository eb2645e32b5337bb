"""The cost of a command before it does anything, as a whole process.

The reference of `--help` is the same interpreter, importing only click. The reference of a `backfill` that finds
nothing to do (database opened, account claimed and released) imports only SQLAlchemy. Each pair runs in turns, so that
other load on the machine affects both; the table has the median of each.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from bench.harvests import Ground
from bench.table import Row

PAIRS = 15
CLICK = ("-c", "import click")
SQLALCHEMY = ("-c", "import sqlalchemy")
HELP = (("--help",), ("backfill", "--help"))


def measure() -> Iterator[Row]:
    for arguments in HELP:
        ours, bare = _pairs(("-m", "harvester", *arguments), CLICK)
        yield Row(f"harvester {' '.join(arguments)} / import click", ours, bare, f"{PAIRS} pairs", at_most=2)
    with Ground(5) as ground:
        ground.harvest(f"sqlite:///{ground.file()}")
        command = ("-m", "harvester", "backfill", "--start", "2024-01-01", "--end", "2024-12-31", "--json")
        ours, bare = _pairs(command, SQLALCHEMY, ground.directory)
        yield Row("backfill with nothing to do / import sqlalchemy", ours, bare, f"{PAIRS} pairs", at_most=3)


def _pairs(command: Sequence[str], beside: Sequence[str], home: Path | None = None) -> tuple[float, float]:
    ours, bare = [], []
    for _ in range(PAIRS):
        bare.append(_seconds(beside, home))
        ours.append(_seconds(command, home))
    return median(ours), median(bare)


def _seconds(arguments: Sequence[str], home: Path | None) -> float:
    begun = time.perf_counter()
    output = subprocess.DEVNULL
    subprocess.run([sys.executable, *arguments], cwd=home, stdout=output, stderr=output, check=True)
    return time.perf_counter() - begun
