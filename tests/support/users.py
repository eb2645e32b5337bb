"""Other users of the host, as processes of a test that runs as root."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from harvester.core.period import Period
from harvester.store.reader import Reader
from tests.support.answers import JANUARY, answer, identity
from tests.support.databases import claimed

OWNER, COLLEAGUE = 54_321, 54_322

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other users")


def give(path: Path, user: int = OWNER) -> None:
    """Give a directory and what is in it to a user."""
    for each in (path, *path.iterdir()):
        os.chown(each, user, user, follow_symlinks=False)


def run_as(user: int, work: Callable[[Path], None], path: Path) -> subprocess.CompletedProcess[str]:
    """Run one of the functions below for a database as another user."""
    return subprocess.run(
        [sys.executable, "-m", __name__, str(user), work.__name__, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def read(path: Path) -> None:
    """Print the number of exported rows."""
    with Reader(f"sqlite:///{path}") as reader:
        sys.stdout.write(f"{len(list(reader.export('performance', period=Period.DAY).rows))}\n")


def write(path: Path) -> None:
    """Store a month."""
    asyncio.run(_write(path))


def write_and_die(path: Path) -> None:
    """Store a month, and end without closing the database."""
    asyncio.run(_write(path, die=True))


async def _write(path: Path, *, die: bool = False) -> None:
    async with claimed(f"sqlite:///{path}", identity()) as store:
        await store.commit([answer(JANUARY, {"calls": [float(os.getpid())] * 31})], [])
        if die:
            os._exit(0)


def _main() -> None:
    user, name, path = sys.argv[1:]
    with TemporaryDirectory() as folder:  # imports everything: the user may have no right to read the installation
        write(Path(folder, "store.db"))
        read(Path(folder, "store.db"))
    sys.stdout.write("--\n")
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
    {each.__name__: each for each in (read, write, write_and_die)}[name](Path(path))


if __name__ == "__main__":
    _main()
