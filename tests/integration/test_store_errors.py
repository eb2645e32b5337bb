"""A database that cannot be used: one line of text, nothing created or overwritten, no secret in the text."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import traceback
from pathlib import Path

import pytest

from harvester.core.model import RowCounts
from harvester.database import dsn
from harvester.database.bulk import driver_of, read_each
from harvester.database.connection import StoreConnection
from harvester.database.dsn import SqliteTarget, parse
from harvester.database.errors import translated
from harvester.errors import ConfigError, SchemaError, StoreError, StoreLost
from harvester.store.claims import Database
from harvester.store.migrate import migrate
from harvester.store.reader import Reader
from harvester.store.schema_state import schema_state
from tests.support.answers import JANUARY, answer, identity
from tests.support.databases import claimed, create_migrated, opened, query
from tests.support.links import foreign_link

CANARY = "c4n4ry/S3cret"
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND datname = current_database()"
)


def names(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


async def error_of(url: str) -> str:
    database = Database(url, auto_migrate=True)
    try:
        with pytest.raises(StoreError) as caught:
            await database.claim(identity())
    finally:
        await database.close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_a_file_that_is_no_database_is_refused_and_not_changed(tmp_path: Path) -> None:
    assert "is a directory" in await error_of(f"sqlite:///{tmp_path}")
    assert "does not exist; create it" in await error_of(f"sqlite:///{tmp_path}/missing/a.db")
    assert not (tmp_path / "missing").exists()
    text = tmp_path / "notes.txt"
    text.write_text("important notes")
    assert "is not an SQLite database" in await error_of(f"sqlite:///{text}")
    assert text.read_text() == "important notes"


async def test_a_damaged_file_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    migrate(f"sqlite:///{path}")
    damaged = bytearray(path.read_bytes())
    damaged[100:4096] = os.urandom(3996)
    path.write_bytes(damaged)
    assert "is damaged" in await error_of(f"sqlite:///{path}")
    assert path.read_bytes() == damaged


async def test_a_file_removed_while_in_use_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with claimed(f"sqlite:///{path}", identity()) as store:
        await store.commit([answer(JANUARY, {"calls": [1.0]})], [])
        path.unlink()
        with pytest.raises(StoreError, match="removed or replaced"):
            await store.commit([answer(JANUARY, {"calls": [2.0]})], [])


async def test_a_commit_succeeds_after_another_program_unlocked_the_file(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dsn, "BUSY_TIMEOUT_SECONDS", 0.05)
    batch = answer(JANUARY, {"calls": [1.0]})
    async with claimed(sqlite_url, identity()) as store:
        with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked by another program"):
                await store.commit([batch], [])
        assert await store.commit([batch], []) == RowCounts(new=1)


def test_errors_of_sqlite_get_advice(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    target = SqliteTarget(path, path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE some (thing)")
        database.execute("PRAGMA max_page_count = 2")
        with pytest.raises(StoreError, match="disk is full"), translated(target):
            database.execute("INSERT INTO some VALUES (zeroblob(100000))")
    with (
        contextlib.closing(target.connect(read_only=True)) as database,
        pytest.raises(StoreError, match="is read-only"),
        translated(target),
    ):
        database.execute("DROP TABLE some")
    with contextlib.closing(sqlite3.connect(path)) as database, pytest.raises(SchemaError), translated(target):
        database.execute("SELECT * FROM missing")


async def test_the_error_of_a_server_that_is_down_contains_no_password(tmp_path: Path) -> None:
    for database in (
        Database(f"postgresql://me:c4n4ry%2FS3cret@/db?host={tmp_path}"),
        Database(f"postgresql://me@/db?host={tmp_path}", password=CANARY),
    ):
        with pytest.raises(StoreError, match="cannot connect") as caught:
            await database.claim(identity())
        assert "c4n4ry" not in "".join(traceback.format_exception(caught.value))
        assert "\n" not in str(caught.value)
        await database.close()


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:///relative.db", "must be absolute"),
        ("mysql://host/db", "mysql"),
        ("postgresql+psycopg://me:c4n4ry@host/db", "psycopg"),
        ("postgresql://me:c4n4ry@host/db?nonsense=1", "libpq cannot parse it"),
    ],
)
def test_an_unusable_url_is_refused(url: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        parse(url)
    assert "c4n4ry" not in "".join(traceback.format_exception(caught.value))


def test_a_repr_contains_no_password() -> None:
    assert CANARY not in repr(parse("postgresql://me@host/db", "public", CANARY))
    assert "c4n4ry" not in repr(parse("postgresql://me:c4n4ry@host/db"))


def test_reading_creates_no_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with pytest.raises(StoreError, match="does not exist yet"):
        Reader(url)
    schema_state(url)
    assert list(tmp_path.iterdir()) == []


def test_reading_an_empty_database_is_an_error(store_url: str) -> None:
    if store_url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as database:
            database.execute("VACUUM")
    with pytest.raises(SchemaError, match="run `harvester migrate`"):
        Reader(store_url)


async def test_a_database_in_a_read_only_directory_is_read(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with claimed(sqlite_url, identity()) as store:
        await store.commit([answer(JANUARY, {"calls": [1.0]})], [])
    before = names(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere, and the tests may run as root
    with Reader(sqlite_url) as reader:
        assert len(reader.accounts()) == 1
    assert names(tmp_path) == before


@pytest.mark.parametrize("silenced", [False, True])
def test_the_driver_does_not_log_a_lost_connection(
    silenced: bool,  # noqa: FBT001 - a parameter of the test
    postgres_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Unless silenced, it logs in its own format and names user and database."""
    store_connection = StoreConnection(parse(postgres_url))
    if not silenced:
        caplog.set_level(logging.NOTSET, logger="psycopg")  # else this would prove nothing
    with pytest.raises(StoreLost), store_connection.transaction() as connection:  # noqa: PT012 - it is cut inside
        query(postgres_url, CUT)
        read_each(connection, "SELECT ?", [("in a pipeline",)])
    store_connection.close()
    assert any(record.name.startswith("psycopg") for record in caplog.records) is not silenced


@pytest.mark.parametrize("inside", [False, True])
def test_a_closed_driver_connection_is_a_lost_connection(sqlite_url: str, *, inside: bool) -> None:
    """It is not opened again: its locks and its transaction are gone."""
    session = StoreConnection(parse(sqlite_url))
    with contextlib.suppress(ZeroDivisionError), session.transaction() as connection:
        driver = driver_of(connection)
        if inside:
            driver.close()
            raise ZeroDivisionError
    driver.close()
    with pytest.raises(StoreLost), session.transaction():
        pass
    assert session.lost


@pytest.mark.parametrize("exists", [True, False])
async def test_a_database_behind_another_users_link_is_not_written(tmp_path: Path, *, exists: bool) -> None:
    target = tmp_path / "theirs.db"
    if exists:
        create_migrated(target)
    link = foreign_link(tmp_path / "voicetrends.db", target)
    before = target.read_bytes() if exists else None
    async with opened(f"sqlite:///{link}") as database:
        with pytest.raises(StoreError, match="is a link of another user; name its target"):
            await database.claim(identity())
    assert (target.read_bytes() if target.exists() else None) == before
    assert set(names(tmp_path)) <= {target, link}
