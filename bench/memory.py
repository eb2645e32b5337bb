"""How much memory a backfill needs at most: 1,200 requests beside 60, and 120,000 slices planned beside 1,200.

Resident, at the highest, as the kernel counts it for the whole process. Slices that are still to be asked for are in
memory only: nothing queues in the database, because what is missing is computed anew by every start.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from statistics import median

from bench.harvests import Ground, rehearsed, run
from bench.table import Row

ROUNDS = 5
LARGEST = 120  # megabytes, of a backfill
LARGEST_PLAN = 200  # megabytes, of 120,000 slices to be asked for


def measure() -> Iterator[Row]:
    peaks = []
    for phones in (10, 200):
        with rehearsed(phones) as ground:
            runs = [ground.harvest(f"sqlite:///{ground.file()}", max_days_per_request=62) for _ in range(ROUNDS)]
        peaks.append(median(one.megabytes for one in runs))
    yield Row("memory: 1,200 requests / 60", peaks[1], peaks[0], f"at most {LARGEST} MB", "MB", 1.2)
    with Ground(1) as ground:
        command = [sys.executable, "-m", "bench.growth"]
        few, many = (
            median(run([*command, str(series)], ground.directory).megabytes for _ in range(ROUNDS))
            for series in (10, 1000)
        )
    yield Row("memory: 120,000 slices to ask for / 1,200", many, few, f"at most {LARGEST_PLAN} MB", "MB")
