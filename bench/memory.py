"""The peak memory of a backfill: 1,200 requests against 60, and 120,000 planned slices against 1,200.

It is the peak resident memory that the kernel counts for the whole process. Slices that are not requested yet are in
memory only: the database has no queue, because each start computes what is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from statistics import median

from bench.harvests import Ground, rehearsed, run
from bench.table import Row

ROUNDS = 5
LARGEST = 120  # megabytes, of a backfill
LARGEST_PLAN = 200  # megabytes, of 120,000 planned slices


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
    yield Row("memory: 120,000 planned slices / 1,200", many, few, f"at most {LARGEST_PLAN} MB", "MB")
