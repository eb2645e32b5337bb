"""Access to a test's database: by SQL, as users have it, and through the store."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from harvester.store.account_store import AccountStore
from harvester.store.claims import Database
from harvester.store.migrate import migrate
from harvester.store.types import AccountIdentity


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement with the driver alone, in UTC, and commit it."""
    if url.startswith("sqlite:"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database, database:
            return database.execute(statement).fetchall()
    with psycopg.connect(url, options="-c TimeZone=UTC") as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def create_migrated(path: Path) -> None:
    """Create an empty SQLite database in the newest schema: a copy, because migrating takes 300 times as long."""
    path.touch(0o600)
    path.write_bytes(_migrated())


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        migrate(f"sqlite:///{path}")
        assert list(path.parent.iterdir()) == [path], "the last connection that is closed leaves one file"
        return path.read_bytes()


@contextlib.asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Database]:
    """A database, migrated if needed, and closed at the end."""
    database = Database(url, auto_migrate=True, **options)
    try:
        yield database
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def claimed(url: str, identity: AccountIdentity, **options: Any) -> AsyncIterator[AccountStore]:
    """The store of a claimed account, released at the end."""
    async with opened(url, **options) as database:
        store = await database.claim(identity)
        assert isinstance(store, AccountStore), store
        yield store
