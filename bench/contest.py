"""The same job by dlt, airbyte-cdk's HttpAPIBudget and a minimal script, in quota windows that must not be exceeded.

Ten phones, a year of days in pieces of a month: 120 requests where a window of 4 s allows 40, with 20 ms of latency.
The job needs three windows. Each contender starts at the beginning of one; its reference is the earliest moment at
which the third window's requests could be answered. The server counts how many requests were sent, refused with 429,
and wasted. Then the job runs once more into an empty database, is killed by SIGKILL when half of the answers are sent,
and is started again: the requests beyond 120 are the cost of the kill. All of that runs five times; the table has the
medians.

The contenders' code is in bench/peers and runs from .venv-peers, made from bench/peers/requirements.txt. Each is
written as its documentation suggests. The harvester checks what it stores and observes the quota over restarts; the
others do not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.harvests import HARVESTER, run
from bench.table import Row
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from tests.support.process import CHECKOUT, configuration, toml
from tests.support.simulation import refused_per_window, serving_in_thread

PHONES = [f"80055503{number:02}" for number in range(10)]
ROUNDS = 5
REQUESTS, LIMIT, WINDOW, LATENCY = 120, 40, 4, 0.02
PEERS = CHECKOUT / "bench" / "peers"
PYTHON = CHECKOUT / ".venv-peers" / "bin" / "python"
SCRIPTS = {"dlt": "dlt_merge.py", "airbyte-cdk": "airbyte.py", "aiohttp + stamina": "script.py"}
YEAR = ("backfill", "--start", "2024-01-01", "--end", "2024-12-31", "--json", "--quiet")


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that does the job, and its command."""

    name: str
    command: Sequence[str]


def measure() -> Iterator[Row]:
    contenders = [Contender("harvester", (*HARVESTER, *YEAR))]
    if PYTHON.exists():
        contenders += [Contender(name, (str(PYTHON), str(PEERS / script))) for name, script in SCRIPTS.items()]
    else:
        print(f"bench: no peers: run `python3 -m venv .venv-peers` and install {PEERS}/requirements.txt into it")
    for contender in contenders:
        yield _row(contender)


def _row(contender: Contender) -> Row:
    rounds = [_round(contender) for _ in range(ROUNDS)]

    def middle(what: str) -> float:
        return float(median(getattr(one, what) for one in rounds))

    remarks = (
        f"{middle('refused'):.0f} refused, {middle('wasted'):.0f} wasted; "
        f"a kill costs {middle('cost_of_a_kill'):.0f} requests; CPU {middle('cpu'):.1f} s; {middle('megabytes'):.0f} MB"
    )
    what = f"120 requests in windows of 40: {contender.name}"
    return Row(what, middle("seconds"), middle("earliest"), remarks)


@dataclass(frozen=True, slots=True)
class _Round:
    """The cost of one run of the job, and of a kill half-way."""

    seconds: float
    earliest: float
    refused: int
    wasted: int
    cost_of_a_kill: int
    cpu: float
    megabytes: float


def _round(contender: Contender) -> _Round:
    with _stage() as (api, home, environ):
        _await_window(api)
        begun = api.server_time(time.time())
        spent = run(contender.command, home, **environ)
        earliest = (begun // WINDOW + 2) * WINDOW + LATENCY * LIMIT / 8 - begun
        sent, refused = _books(api)
    cost = _cost_of_a_kill(contender)
    return _Round(spent.seconds, earliest, refused, sent - REQUESTS, cost, spent.cpu, spent.megabytes)


def _cost_of_a_kill(contender: Contender) -> int:
    with _stage() as (api, home, environ):
        _await_window(api)
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(contender.command, cwd=home, stdout=log, stderr=log, env=os.environ | environ)
            while sum(api.requests_per_window().values()) < REQUESTS // 2 and process.poll() is None:
                time.sleep(0.005)
            process.kill()
            process.wait()
        run(contender.command, home, **environ)
        return _books(api)[0] - REQUESTS


@contextmanager
def _stage() -> Iterator[tuple[SimulatedApi, Path, dict[str, str]]]:
    api = SimulatedApi([Account()], Options(limit=LIMIT, window=WINDOW, latency=LATENCY))
    with tempfile.TemporaryDirectory() as name, serving_in_thread(api) as url:
        home = Path(name)
        narrow = {"max_days_per_request": 31, "concurrency": 8}
        tables = configuration(url, f"sqlite:///{home}/job.db", limit=LIMIT, window=WINDOW, api=narrow, phones=PHONES)
        (home / "config.toml").write_text(toml(tables))
        (home / "config.toml").chmod(0o600)
        job = {"URL": url, "DATABASE": f"{home}/job.db", "PHONES": ",".join(PHONES), "LIMIT": LIMIT, "WINDOW": WINDOW}
        yield (
            api,
            home,
            {f"JOB_{key}": str(value) for key, value in job.items()} | {"HOME": name, "PYTHONPATH": str(CHECKOUT)},
        )


def _await_window(api: SimulatedApi) -> None:
    time.sleep(WINDOW * 1.05 - api.server_time(time.time()) % WINDOW)


def _books(api: SimulatedApi) -> tuple[int, int]:
    """Return the data requests that reached the server, and how many of them it refused."""
    refused = sum(refused_per_window(api).values())
    return sum(api.requests_per_window().values()) + refused, refused


if __name__ == "__main__":
    sys.exit("python -m bench peers")
