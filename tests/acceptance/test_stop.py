"""A `password_command` that hangs is killed with its children when the process is stopped."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harvester.simulator.api import SimulatedApi
from tests.support.daemon import prepared

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install

STOP_SECONDS = 8.0  # a hanging command has 30 seconds otherwise


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("table", ["accounts.main", "database"])
@pytest.mark.parametrize(("command", "code"), [(("run",), 0), (("backfill", "--start", "2024-01-01"), 130)])
def test_a_hanging_password_command_is_killed(
    table: str, command: tuple[str, ...], code: int, sqlite_url: str, tmp_path: Path, install: Install
) -> None:
    pid_file = tmp_path / "pid"
    slow = ["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"]
    account = {"start": "2024-01-01"} | ({"password": None} if table == "accounts.main" else {})
    harvester = prepared(install(SimulatedApi(), sqlite_url, **account))
    harvester.configure(table, password_command=slow)
    with harvester.started(*command) as running:
        running.until(lambda: pid_file.exists() and bool(pid_file.read_text()))
        child = int(pid_file.read_text())
        assert exists(child)
        running.signal(signal.SIGTERM)
        began = time.monotonic()
        ended = running.ended(within=STOP_SECONDS)
    assert ended.code == code, ended.err
    assert time.monotonic() - began < STOP_SECONDS
    assert "Traceback" not in ended.err
    assert "paused" not in ended.err
    assert not exists(child)
