"""A private PostgreSQL cluster for the tests: in a temporary directory, on a socket only, deleted afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from harvester.store.migrate import migrate

ADMIN = "postgres"


def binaries() -> Path | None:
    """Return the directory of the newest server programs installed."""
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: float(path.parent.name),
    )
    on_path = shutil.which("initdb")
    return found[-1] if found else Path(on_path).resolve().parent if on_path else None


def require_binaries() -> Path:
    """Return the directory of the programs; without them skip the test, or fail it if CI=true."""
    found = binaries()
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail("no PostgreSQL server programs, and CI=true requires them")
    pytest.skip("NO POSTGRESQL: install its server programs (Debian: postgresql) to run these tests")


class Cluster:
    """A running server.

    Args:
        programs: directory of initdb and pg_ctl.
        directory: of the data and the socket; keep it short, a socket's path is limited to 107 bytes.
        port: of 127.0.0.1 to listen on besides; None: on the socket alone.
    """

    def __init__(self, programs: Path, directory: Path, port: int | None = None) -> None:
        self.programs = programs
        self.directory = directory
        self.port = port
        self._data = directory / "data"
        self._as_user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(directory, user.pw_uid, user.pw_gid)
            self._as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]

    def create(self) -> None:
        """Create the cluster, without durability: nothing needs to survive the tests."""
        self._run("initdb", "-D", str(self._data), "-U", ADMIN, "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        settings = (
            *(("listen_addresses = '127.0.0.1'", f"port = {self.port}") if self.port else ("listen_addresses = ''",)),
            f"unix_socket_directories = '{self.directory}'",
            "fsync = off",
            "synchronous_commit = off",
            "full_page_writes = off",
            "max_connections = 60",
        )
        with (self._data / "postgresql.conf").open("a") as file:
            file.write("\n".join((*settings, "")))

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "60", "-l", str(self.directory / "log"), "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server: "fast" ends sessions in order, "immediate" is like a crash."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop")

    def url(self, database: str, user: str = ADMIN) -> str:
        """Return the libpq URL of a database of this cluster."""
        port = f"&port={self.port}" if self.port else ""
        return f"postgresql://{user}@/{database}?host={quote(str(self.directory), safe='')}{port}"

    def execute(self, statement: str, database: str = ADMIN) -> list[tuple[object, ...]]:
        """Run one statement as the administrator, outside a transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a new database, a copy of another one; dropped at the end, with its connections."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.url(name)
        finally:
            with contextlib.suppress(psycopg.OperationalError):  # a test may have stopped the cluster for good
                self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    @cached_property
    def migrated(self) -> str:
        """The name of an empty database in the newest schema, to be copied: faster than migrating each."""
        name = "migrated"
        self.execute(f"CREATE DATABASE {name}")
        migrate(self.url(name))
        return name

    def _run(self, program: str, *arguments: str) -> None:
        # A file, not a pipe: the server inherits the descriptors of pg_ctl, so a pipe would stay open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [*self._as_user, str(self.programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
                check=False,
                timeout=120,
            )
            if done.returncode:
                output.seek(0)
                raise RuntimeError(f"{program}: {output.read().decode(errors='replace')}")


@contextlib.contextmanager
def running_cluster(*, tcp: bool = False) -> Iterator[Cluster]:
    """A new cluster, started; `tcp`: reachable on a free port of 127.0.0.1 besides."""
    programs = require_binaries()
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp", ignore_cleanup_errors=True) as name:
        cluster = Cluster(programs, Path(name), _free_port() if tcp else None)
        cluster.create()
        cluster.start()
        try:
            yield cluster
        finally:
            with contextlib.suppress(RuntimeError):
                cluster.stop()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
