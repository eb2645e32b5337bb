"""The cost of a daemon that has nothing to do: CPU time per minute of wall time, and memory.

Two accounts of ten phones are filled with a year of days; then the minute begins. A second daemon on the same database
stands by, ready to take over, and is measured, too. The ratio is the share of one core. The figures are the kernel's
(/proc), so this runs on Linux only.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.table import HEADINGS, Row, line
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from tests.support.databases import query
from tests.support.postgres import binaries, running_cluster
from tests.support.process import Installation, Running, Tables, configuration
from tests.support.simulation import serving_in_thread

MINUTE = 60.0  # seconds
SETTLE = 5.0  # seconds from the last answer until the minute begins
ACCOUNTS = ("first", "second")
PHONES = [f"80055502{number:02}" for number in range(10)]
DAYS = 365
TICK = os.sysconf("SC_CLK_TCK")


def measure(seconds: float = MINUTE) -> Iterator[Row]:
    api = SimulatedApi([Account(name=name, login=_login(name)) for name in ACCOUNTS], Options(limit=1000))
    with ExitStack() as stack:
        base_url = stack.enter_context(serving_in_thread(api))
        daemons: dict[str, Running] = {}
        for kind, url in _databases(stack):
            harvester = Installation(
                Path(stack.enter_context(tempfile.TemporaryDirectory())), _configuration(base_url, url)
            )
            harvester.run("migrate")  # or Alembic would stay in the daemon's memory
            daemons[f"idle daemon, {kind}"] = stack.enter_context(harvester.started("run"))
            _wait_until_filled(daemons[f"idle daemon, {kind}"], url)
            daemons[f"standing by, {kind}"] = stack.enter_context(harvester.started("run"))
        time.sleep(SETTLE)
        yield from _measured(daemons, seconds)


def _measured(daemons: Mapping[str, Running], seconds: float) -> Iterator[Row]:
    before = {name: _cpu_seconds(daemon.pid) for name, daemon in daemons.items()}
    begun = time.monotonic()
    time.sleep(seconds)
    for name, daemon in daemons.items():
        spent = _cpu_seconds(daemon.pid) - before[name]
        yield Row(f"{name}: CPU / wall", spent, time.monotonic() - begun, f"{_megabytes(daemon.pid):.0f} MB resident")


def _databases(stack: ExitStack) -> Iterator[tuple[str, str]]:
    yield "SQLite", f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/idle.db"
    if binaries() is not None:
        yield "PostgreSQL", stack.enter_context(stack.enter_context(running_cluster()).database())


def _configuration(base_url: str, url: str) -> Tables:
    start = datetime.now(UTC).date() - timedelta(days=DAYS)
    accounts = {name: {"login": _login(name), "phones": PHONES, "start": str(start)} for name in ACCOUNTS}
    tables = configuration(base_url, url, accounts=accounts)
    tables["daemon"] = {"listen": "127.0.0.1:0"}
    return tables


def _wait_until_filled(daemon: Running, url: str) -> None:
    wanted = len(ACCOUNTS) * len(PHONES)

    def filled() -> bool:
        time.sleep(0.2)
        return '"round"' in daemon.err and query(url, "SELECT count(DISTINCT series_id) FROM coverage") == [(wanted,)]

    daemon.until(filled)


def _login(account: str) -> str:
    return f"{account}@example.com"


def _cpu_seconds(pid: int) -> float:
    """User and system time of all its threads: fields 14 and 15; the name in field 2 may hold spaces."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    print(line(HEADINGS))
    for row in measure():
        print(line(row.cells()))
