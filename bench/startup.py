"""`harvester --help` as a whole process, beside the same interpreter that only imports click.

The two run in turns, so that whatever else the machine does falls on both; told is the median of each.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from bench.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

PAIRS = 30
BESIDE = ("-c", "import click")
COMMANDS = (("--help",), ("backfill", "--help"))


def measure() -> Iterator[Row]:
    for arguments in COMMANDS:
        ours, bare = [], []
        for _ in range(PAIRS):
            bare.append(_seconds(*BESIDE))
            ours.append(_seconds("-m", "harvester", *arguments))
        yield Row(f"harvester {' '.join(arguments)} / import click", median(ours), median(bare), f"{PAIRS} pairs")


def _seconds(*arguments: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun
