"""Files that `export` writes: pipes, links, signals, a connection that is lost half-way."""

from __future__ import annotations

import gzip
import shutil
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import psycopg
import pytest

from tests.support.answers import answer, identity
from tests.support.databases import claimed
from tests.support.links import foreign_link
from tests.support.process import Installation

START = date(1990, 1, 1)
DAYS = 8_000  # more than the buffer of a pipe and one fetch hold


@pytest.fixture
def home(tmp_path: Path) -> Installation:
    """A home whose configuration cannot be used."""
    return Installation(tmp_path, {"nonsense": {"key": 1}})


async def fill(url: str, days: int) -> None:
    async with claimed(url, identity(start=START)) as store:
        await store.commit([answer(START, {"calls": [1.0] * days})], [])


async def test_output_to_a_descriptor_of_the_shell(home: Installation, sqlite_url: str, tmp_path: Path) -> None:
    await fill(sqlite_url, 30)
    export = f"{sys.executable} -m harvester -q export performance --db {sqlite_url}"
    whole = home.run("-q", "export", "performance", "--db", sqlite_url).out
    assert len(whole.splitlines()) == 31
    shell = shutil.which("bash")
    assert shell is not None

    def run(command: str) -> str:
        ended = subprocess.run([shell, "-c", command], cwd=home.home, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    assert run(f"{export} -o /dev/stdout") == whole
    assert run(f"set -o pipefail; {export} -o /dev/stdout | cat") == whole
    assert run(f"{export} -o /dev/stdout > {tmp_path}/file; {export} -o /dev/fd/3 3>> {tmp_path}/file") == ""
    assert (tmp_path / "file").read_text() == whole * 2
    run(f"{export} -o >(gzip > {tmp_path}/a.gz); while [ ! -s {tmp_path}/a.gz ]; do sleep 0.05; done")
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).decode() == whole


async def test_a_link_of_another_user_is_refused(home: Installation, sqlite_url: str, tmp_path: Path) -> None:
    await fill(sqlite_url, 1)
    target = tmp_path / "precious"
    target.write_text("old")
    link = foreign_link(tmp_path / "calls.csv", target)
    ended = home.run("export", "performance", "--db", sqlite_url, "-o", str(link))
    assert ended.code == 2
    assert f"{link} is a link of another user" in ended.err
    assert target.read_text() == "old"
    assert link.is_symlink()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_leaves_no_part_of_a_file(
    home: Installation, sqlite_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    await fill(sqlite_url, DAYS)
    there = tmp_path / "out"
    there.mkdir()
    with home.started("export", "performance", "--db", sqlite_url, "-o", str(there / "calls.csv")) as running:
        running.until(lambda: any(there.iterdir()))
        running.signal(number)
        ended = running.ended()
    assert (ended.code, ended.err.strip()) == (130, "")
    assert list(there.iterdir()) == []


@pytest.mark.parametrize("output", ["stdout", "file"])
async def test_a_connection_that_is_cut_half_way_is_reported_plainly(
    home: Installation, postgres_url: str, output: str, tmp_path: Path
) -> None:
    await fill(postgres_url, DAYS)
    out = tmp_path / "calls.csv"
    arguments = ["-o", str(out)] if output == "file" else []
    with home.started("export", "performance", "--db", postgres_url, *arguments) as running:
        running.until(lambda: any(tmp_path.glob(".calls.csv.*")) if output == "file" else bool(running.out))
        with psycopg.connect(postgres_url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'harvester'"
            )
        ended = running.ended()
    assert ended.code == 74
    assert len(ended.out.splitlines()) < DAYS
    assert not out.exists()
    assert len(ended.err.splitlines()) == 1, ended.err
    assert ended.err.startswith("harvester: The connection to the database was lost: ")
    result = "what was written is incomplete" if output == "stdout" else f"{out} was not written"
    assert ended.err.endswith(f"; {result}, run the same command again\n")
