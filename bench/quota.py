"""The end of the work that the quota allows, against the earliest possible moment.

In real time: 600 requests at 150 per window of 8 s.

A real `backfill` runs against the simulator over HTTP: 20 ms latency, 8 requests in flight, the server's clock right
and 2.4 s off either way. The command starts at the beginning of a window, and its time is that of the whole process,
from start to exit. The reference comes from the server's counts: four windows are needed, so it is the boundary at
which the fourth begins, plus the time that 150 requests take at this latency if nothing else took any time. Where
another client spends 30 requests of each window at random moments, five windows are needed; `[quota] reserve` concedes
those 30. At other concurrencies the clock is right. Each line is run five times; the table has the medians, and all
refusals.

In virtual time: 36,000 requests at 150 per window of 900 s. It is the state machine alone against a server that counts,
with clocks apart and drifting; and, in 3,600 requests, all of the harvester except its sockets.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

from bench.table import Row
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from tests.support.ideal import Ideal
from tests.support.process import Installation, configuration
from tests.support.quota_world import World
from tests.support.rig import START, Desired, Rig
from tests.support.simulation import refused_per_window, serving_in_thread
from tests.support.window_server import WindowServer

ROUNDS = 5
REQUESTS = 600
LIMIT = 150
WINDOW = 8  # seconds
LATENCY = 0.02  # seconds
UNHURRIED = 100_000.0  # requests per second: no pacing, the quota is what is measured
CONCURRENCY = 8
OFFSETS = (-2.4, 0.0, 2.4)  # seconds by which the server's clock is ahead
PHONES = tuple(f"80055501{number:02}" for number in range(10))
DAYS_EACH = 5  # ten numbers, sixty slices of five days
ORDER = ("backfill", "--start", "2024-01-01", "--end", "2024-10-26", "--json")
_START = 0.1  # of the first window
_WITHIN = 120.0  # seconds
NEIGHBOUR = 30  # requests per window
CONCURRENCIES = (1, 32)
MANY, FEWER = 36_000, 3_600
DRIFTS = (-50e-6, 0.0, 50e-6)
AHEAD = 300.0  # seconds


def measure() -> Iterator[Row]:
    for offset in OFFSETS:
        yield _harvest(offset)
    for reserve in (0, NEIGHBOUR):
        yield _harvest(0.0, neighbour=NEIGHBOUR, reserve=reserve)
    for concurrency in CONCURRENCIES:
        yield _harvest(0.0, concurrency=concurrency)
    for drift in DRIFTS:
        yield _virtual(drift)
    yield _virtual_process()


def _virtual(drift: float) -> Row:
    server = WindowServer(ahead=AHEAD, drift=drift)
    world = World(server)
    last = server.index(0.0) + math.ceil(MANY / server.limit) - 1
    world.work(MANY)
    # The first window is entered in its middle, which costs nothing: all of its requests fit into what is left.
    earliest = server.moment(last * server.window) + 0.03 * server.limit / world.concurrency
    what = f"36,000 requests in virtual time, drift {drift * 1e6:+.0f} ppm / earliest"
    return Row(what, world.now, earliest, f"{len(server.refused)} refused", at_most=1.005)


def _virtual_process() -> Row:
    phones = [f"80055{number:05}" for number in range(100)]
    desired = Desired(phones=phones, first=date(2023, 1, 1), last=date(2023, 12, 26), max_days=10, rate=20.0)
    options = Options(latency=0.1, clock_offset=2.4)
    with tempfile.TemporaryDirectory() as name:
        rig = Rig(Path(name) / "bench.db", desired, options)
        process = rig.run()
    earliest = Ideal(options, desired, START).seconds(FEWER)
    refused = process.report.rate_limited
    if process.report.requests != FEWER:
        raise SystemExit(f"bench: {process.report.requests} requests, not {FEWER}")
    what = "3,600 requests in virtual time, whole process / earliest"
    return Row(what, process.elapsed, earliest, f"{refused} refused", at_most=1.005)


@dataclass(frozen=True, slots=True)
class _Run:
    """One backfill, by the server's clock and counts."""

    took: float
    begun: float  # epoch second
    counted: Mapping[int, int]  # requests by the window's first second
    refused: int

    def earliest(self, limit: int, concurrency: int) -> float:
        """Return the seconds after which it could have ended."""
        windows = math.ceil(REQUESTS / limit)
        last = min(self.counted) + (windows - 1) * WINDOW
        return last + math.ceil((REQUESTS - (windows - 1) * limit) / concurrency) * LATENCY - self.begun


def _harvest(offset: float, *, neighbour: int = 0, reserve: int = 0, concurrency: int = CONCURRENCY) -> Row:
    options = Options(limit=LIMIT, window=WINDOW, latency=LATENCY, clock_offset=offset, neighbour=neighbour)
    runs = [_run(options, reserve, concurrency) for _ in range(ROUNDS)]
    earliest = median(run.earliest(LIMIT - neighbour, concurrency) for run in runs)
    refused = sum(run.refused for run in runs)
    used = "+".join(str(count) for count in runs[-1].counted.values())
    beside = f", {neighbour} per window by another client" if neighbour else ""
    beside += ", conceded by reserve" if reserve else ""
    what = f"600 requests, clock {offset:+.1f} s, {concurrency} in flight{beside}"
    remarks = f"{refused} refused in {ROUNDS} runs; per window {used}"
    return Row(what, median(run.took for run in runs), earliest, remarks, at_most=1.03)


def _run(options: Options, reserve: int, concurrency: int) -> _Run:
    api = SimulatedApi([Account()], options)
    with tempfile.TemporaryDirectory() as name, serving_in_thread(api) as url:
        tables = configuration(
            url,
            f"sqlite:///{name}/bench.db",
            limit=LIMIT,
            window=WINDOW,
            api={"max_days_per_request": DAYS_EACH, "concurrency": concurrency, "max_rate": UNHURRIED},
            phones=list(PHONES),
        )
        tables["quota"]["reserve"] = reserve
        harvester = Installation(Path(name), tables)
        time.sleep(WINDOW * (1 + _START) - api.server_time(time.time()) % WINDOW)
        begun = api.server_time(time.time())
        ended = harvester.run(*ORDER, within=_WITHIN)
        took = api.server_time(time.time()) - begun
    if ended.code or sum(api.requests_per_window().values()) != REQUESTS:
        raise SystemExit(f"bench: expected {REQUESTS} requests\n{ended.out}{ended.err}")
    return _Run(took, begun, api.requests_per_window(), sum(refused_per_window(api).values()))
