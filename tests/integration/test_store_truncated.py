"""An SQLite file that is truncated in place while it is in use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.core.model import RowCounts
from harvester.errors import StoreError, StoreLost
from tests.support.answers import JANUARY, answer, identity
from tests.support.databases import claimed

BATCH = answer(JANUARY, {"calls": [1.0]})


def checkpoint(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("size", [0, 50, 4096, 20_480])
@pytest.mark.parametrize("reading", [False, True])
async def test_a_truncated_file_is_noticed(sqlite_url: str, tmp_path: Path, size: int, *, reading: bool) -> None:
    path = tmp_path / "store.db"
    async with claimed(sqlite_url, identity()) as store:
        await store.commit([BATCH], [])
        await store.coverage([])
        checkpoint(path)
        await store.coverage([])
        os.truncate(path, size)
        with pytest.raises(StoreError, match="was truncated while it was in use"):
            await (store.orders() if reading else store.commit([BATCH], []))
        with pytest.raises(StoreLost, match="was truncated while it was in use"):  # the reason is not lost with it
            await store.orders()


async def test_a_vacuumed_file_is_whole(sqlite_url: str, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with claimed(sqlite_url, identity()) as store:
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE ballast AS SELECT zeroblob(500000) AS content")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            await store.coverage([])
            before = path.stat().st_size
            other.execute("DROP TABLE ballast")
            other.execute("VACUUM")
        checkpoint(path)
        assert path.stat().st_size < before - 400_000
        assert await store.commit([BATCH], []) == RowCounts(new=1)
        # Another process that closes its connection as the last one removes the log. Our locks must tell it of us.
        look = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM account'); c.close()"
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", look, str(path)], check=True)
        assert path.with_name("store.db-wal").stat().st_size > 0
