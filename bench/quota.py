"""How soon 600 requests end at 150 per window of 8 s, beside the earliest moment possible.

A real `backfill` against the simulator over HTTP: 20 ms latency, 8 requests in flight, the server's clock right and
2.4 s off either way. The command is started at the beginning of a window, and its time is that of the whole process,
from start to exit. The earliest moment is told by the server's books: four windows are needed, so it is the boundary
at which the fourth begins, and from there on what 150 requests need at this latency if nothing else took any time.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.table import Row
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from tests.support.process import Installation, configuration
from tests.support.simulation import serving_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUESTS = 600
LIMIT = 150
WINDOW = 8  # seconds
LATENCY = 0.02  # seconds
CONCURRENCY = 8
OFFSETS = (-2.4, 0.0, 2.4)  # seconds by which the server's clock is ahead
PHONES = tuple(f"80055501{number:02}" for number in range(10))
DAYS_EACH = 5  # ten numbers, sixty slices of five days
ORDER = ("backfill", "--start", "2024-01-01", "--end", "2024-10-26", "--json")
_START = 0.1  # of the first window
_WITHIN = 120.0  # seconds


def measure() -> Iterator[Row]:
    for offset in OFFSETS:
        yield _harvest(offset)


def _harvest(offset: float) -> Row:
    api = SimulatedApi([Account()], Options(limit=LIMIT, window=WINDOW, latency=LATENCY, clock_offset=offset))
    with tempfile.TemporaryDirectory() as name, serving_in_thread(api) as url:
        tables = configuration(
            url,
            f"sqlite:///{name}/bench.db",
            limit=LIMIT,
            window=WINDOW,
            api={"max_days_per_request": DAYS_EACH, "concurrency": CONCURRENCY},
            phones=list(PHONES),
        )
        harvester = Installation(Path(name), tables)
        time.sleep(WINDOW * (1 + _START) - api.server_time(time.time()) % WINDOW)
        begun = api.server_time(time.time())
        ended = harvester.run(*ORDER, within=_WITHIN)
        took = api.server_time(time.time()) - begun
    if ended.code or sum(api.requests_per_window().values()) != REQUESTS:
        raise SystemExit(f"bench: not the {REQUESTS} requests that were expected\n{ended.out}{ended.err}")
    windows = math.ceil(REQUESTS / LIMIT)
    last = min(api.requests_per_window()) + (windows - 1) * WINDOW
    earliest = last + math.ceil((REQUESTS - (windows - 1) * LIMIT) / CONCURRENCY) * LATENCY - begun
    refused = sum(api.refused_per_window().values())
    used = "+".join(str(count) for count in api.requests_per_window().values())
    what = f"600 requests, server's clock {offset:+.1f} s / earliest"
    return Row(what, took, earliest, f"{refused} refused; per window {used}")
