"""Commands in surroundings that containers and cron jobs have: no streams, no home, no directory, PID 1."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.databases import create_migrated
from tests.support.users import needs_root

HARVESTER = f"{shlex.quote(sys.executable)} -m harvester"


def shell(command: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("streams", "code", "error"),
    [
        (">&-", 2, "harvester: stdout cannot be written: Bad file descriptor\n"),
        (">/dev/full", 2, "harvester: stdout cannot be written: No space left on device\n"),
        ("2>&-", 0, ""),
        ("2>/dev/full", 0, ""),
        (">&- 2>&-", 2, ""),
        ("<&-", 0, ""),
    ],
)
@pytest.mark.parametrize("command", ["status --db store.db", "status --json --db store.db"])
def test_closed_and_full_streams_end_in_one_plain_line(
    tmp_path: Path, command: str, streams: str, code: int, error: str
) -> None:
    create_migrated(tmp_path / "store.db")
    before = (tmp_path / "store.db").read_bytes()
    ended = shell(f"{HARVESTER} {command} {streams}", tmp_path)
    assert (ended.returncode, ended.stderr) == (code, error)
    assert (tmp_path / "store.db").read_bytes() == before


def test_errors_keep_their_code_without_stderr(tmp_path: Path) -> None:
    assert shell(f"{HARVESTER} status --db none.db 2>/dev/full", tmp_path).returncode == 74


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    create_migrated(tmp_path / "store.db")
    (tmp_path / "config.toml").write_text(f'[database]\nurl = "sqlite:///{tmp_path}/store.db"\n')
    (tmp_path / "config.toml").chmod(0o600)
    leave = f"mkdir gone && cd gone && rmdir {tmp_path}/gone &&"
    ended = shell(f"{leave} {HARVESTER} --config {tmp_path}/config.toml status", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    ended = shell(f"{leave} {HARVESTER} status", tmp_path, HOME=str(tmp_path / "home"))
    assert ended.returncode in {0, 78}  # /etc/harvester/config.toml may exist
    assert "Traceback" not in ended.stderr


@needs_root
def test_a_user_without_a_home(tmp_path: Path) -> None:
    create_migrated(tmp_path / "store.db")
    script = (
        "import os, sys\n"
        "sys.argv = ['harvester', 'status', '--db', sys.argv[1]]\n"
        "from harvester.cli import main\n"
        "os.getuid = lambda: 54399\n"  # a real change of the user would hide the installation from the test
        "del os.environ['HOME']\n"
        "main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store.db")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@needs_root
def test_sigterm_ends_the_first_second_of_process_1(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-fp", "true"], check=False).returncode:
        pytest.skip("this host does not allow another PID namespace")
    # It waits at once, before any loop runs, for a FIFO without a writer.
    os.mkfifo(tmp_path / "config.toml")
    with subprocess.Popen(
        [unshare, "-fp", "--kill-child", sys.executable, "-m", "harvester", "--config", "config.toml", "status"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + 30
        while not (first := children.read_text().split()) or not _is_ready(first[0]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(int(first[0]), signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
        assert process.stderr is not None
        assert process.stderr.read() == ""


def _is_ready(pid: str) -> bool:
    """Return True once the process has a handler of SIGTERM."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)
