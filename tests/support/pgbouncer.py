"""A PgBouncer in front of the tests' PostgreSQL server."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.postgres import Cluster

PATIENCE = 30.0  # seconds in which it starts


def require_pgbouncer() -> str:
    """Return the program; without it skip the test, or fail it if CI=true."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail("no pgbouncer, and CI=true requires it")
    pytest.skip("NO PGBOUNCER: install it (Debian: pgbouncer) to run these tests")


@contextlib.contextmanager
def pooled(cluster: Cluster, url: str, mode: str, **settings: object) -> Iterator[str]:
    """The URL of the database through a new pooler in this mode."""
    program = require_pgbouncer()
    with tempfile.TemporaryDirectory(prefix="pgb", dir="/tmp", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        lines = {
            "listen_port": 6432,
            "unix_socket_dir": directory,
            "auth_type": "any",
            "pool_mode": mode,
            "logfile": directory / "log",
            "ignore_startup_parameters": "extra_float_digits",
            **settings,
        }
        config = directory / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = host={cluster.directory} user=postgres\n\n[pgbouncer]\n"
            + "".join(f"{key} = {value}\n" for key, value in lines.items())
        )
        as_user: list[str] = []
        if os.geteuid() == 0:  # it refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(directory, user.pw_uid, user.pw_gid)
            config.chmod(0o644)
            as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        process = subprocess.Popen([*as_user, program, "-q", str(config)], cwd=directory, stdin=subprocess.DEVNULL)
        try:
            _wait_for(directory / ".s.PGSQL.6432", process)
            database = url.partition("@/")[2].partition("?")[0]
            yield f"postgresql://postgres@/{database}?host={quote(str(directory), safe='')}&port=6432"
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, f"pgbouncer ended with {process.returncode}"
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(path))
            return
        assert time.monotonic() < deadline, "pgbouncer does not start"
        time.sleep(0.02)
