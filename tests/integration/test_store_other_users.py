"""An SQLite database that other users of the host look at, while its owner's harvester works or does not."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from harvester.core.period import Period
from harvester.database import sqlite_reading
from harvester.database.connection import StoreConnection
from harvester.database.dsn import MAX_LOG_BYTES, parse
from harvester.errors import StoreError
from harvester.store.reader import Reader
from tests.support.answers import JANUARY, answer, identity
from tests.support.databases import claimed, create_migrated, query
from tests.support.users import COLLEAGUE, OWNER, give, needs_root, read, run_as, write, write_and_die


def error_of(run: CompletedProcess[str]) -> str:
    return run.stderr.rstrip().rpartition("\n")[2]


def rows_of(run: CompletedProcess[str]) -> int:
    assert run.stderr == ""
    return int(run.stdout.rpartition("--\n")[2])


@pytest.fixture
def shared() -> Iterator[Path]:
    """A database of OWNER, in a directory that everybody may write to."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        create_migrated(directory / "store.db")
        (directory / "store.db").chmod(0o644)
        give(directory)
        directory.chmod(0o777)
        assert run_as(OWNER, write, directory / "store.db").stderr == ""
        yield directory / "store.db"


def owners(path: Path) -> dict[str, int]:
    return {each.name: each.stat().st_uid for each in path.parent.iterdir()}


@needs_root
@pytest.mark.parametrize("mode", [0o777, 0o755])
def test_a_colleague_reads_and_leaves_nothing_behind(shared: Path, mode: int) -> None:
    shared.parent.chmod(mode)
    before = owners(shared)
    assert rows_of(run_as(COLLEAGUE, read, shared)) == 31
    assert owners(shared) == before
    assert run_as(OWNER, write, shared).stderr == ""


@needs_root
@pytest.mark.parametrize("mode", [0o777, 0o755])
def test_a_colleague_reads_beside_a_working_harvester(shared: Path, mode: int) -> None:
    shared.parent.chmod(mode)
    with contextlib.closing(sqlite3.connect(shared)) as database:  # root's, whose files SQLite gives to the owner
        database.execute("UPDATE account SET holder = 'another'")
        database.commit()
        before = owners(shared)
        assert set(before.values()) == {OWNER}
        assert rows_of(run_as(COLLEAGUE, read, shared)) == 31
        assert owners(shared) == before


@needs_root
def test_a_dead_harvesters_log_is_left_to_its_owner(shared: Path) -> None:
    run_as(OWNER, write_and_die, shared)
    shared.with_name("store.db-shm").unlink()
    before = owners(shared)
    refused = run_as(COLLEAGUE, read, shared)
    assert error_of(refused).endswith("run `harvester status` as that user, then the same command again")
    assert owners(shared) == before
    assert rows_of(run_as(OWNER, read, shared)) == 31
    assert rows_of(run_as(COLLEAGUE, read, shared)) == 31


@needs_root
async def test_a_file_that_is_written_during_an_unlocked_reading_is_reported(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_reading, "_may_create_files", lambda _: False)  # as for a colleague
    reader = Reader(f"sqlite:///{shared}")
    rows = reader.export("performance", period=Period.DAY).rows
    next(rows)
    assert run_as(OWNER, write, shared).stderr == ""
    with pytest.raises(StoreError, match="was written while it was read"):
        list(rows)
    with pytest.raises(StoreError, match="was written while it was read"):
        reader.close()


def test_a_file_that_changed_is_not_reported_as_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_reading, "_may_create_files", lambda _: False)
    path = tmp_path / "store.db"
    create_migrated(path)

    def read_while_it_changes(connection: StoreConnection) -> None:
        with connection.transaction() as reading:
            path.write_bytes(path.read_bytes()[:4096] + os.urandom(path.stat().st_size - 4096))
            reading.exec_driver_sql("SELECT count(*) FROM value").fetchall()

    connection = StoreConnection(parse(f"sqlite:///{path}"), read_only=True)
    with contextlib.closing(connection), pytest.raises(StoreError, match="was written while it was read"):
        read_while_it_changes(connection)


@needs_root
async def test_roots_lock_files_belong_to_the_owner_of_the_database(shared: Path) -> None:
    async with claimed(f"sqlite:///{shared}", identity()) as store:
        await store.commit([answer(JANUARY, {"calls": [5.0] * 31})], [])
    assert set(owners(shared).values()) == {OWNER}
    assert run_as(OWNER, write, shared).stderr == ""


@needs_root
def test_another_users_lock_file_is_reported_with_the_remedy(shared: Path) -> None:
    lock = next(shared.parent.glob("*.lock"))
    os.chown(lock, 0, 0)
    assert (
        "it belongs to another user; give it to the user of the harvester with chown"
        in run_as(OWNER, write, shared).stderr
    )


async def test_the_log_shrinks_after_a_long_reader(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    create_migrated(tmp_path / "store.db")
    log = tmp_path / "store.db-wal"
    async with claimed(url, identity()) as store:
        await store.commit([answer(JANUARY, {"calls": [1.0]})], [])
        with Reader(url) as reader:
            reader.accounts()
            blob = f"CREATE TABLE filler AS SELECT zeroblob({MAX_LOG_BYTES + 1_000_000}) AS x"
            query(url, blob)
            assert log.stat().st_size > MAX_LOG_BYTES
        for value in (2.0, 3.0, 4.0):
            await store.commit([answer(JANUARY, {"calls": [value]})], [])
        assert log.stat().st_size <= MAX_LOG_BYTES
