"""The SQL of docs/use-the-data.md, run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.core.period import ONE_DAY
from tests.support.answers import JANUARY, answer, at, identity
from tests.support.databases import claimed, query

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "use-the-data.md"
BLOCKS = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def statements(url: str) -> list[str]:
    """Those for this database: a block says so in its first line where it is for one only."""
    other = "-- PostgreSQL" if url.startswith("sqlite:") else "-- SQLite"
    return [block for block in BLOCKS if not block.startswith(other)]


def block_with(url: str, words: str) -> str:
    (found,) = [block for block in statements(url) if words in block]
    return found


def harvester(*arguments: str) -> str:
    command = [sys.executable, "-m", "harvester", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


async def fill(url: str) -> None:
    """A day with two revisions, and the next one while it runs."""
    async with claimed(url, identity()) as store:
        await store.commit([answer(JANUARY, {"calls": [1.0], "average_page_load": [0.5]})], [])
        for calls in (5.0, 6.0):
            await store.commit([answer(JANUARY, {"calls": [calls], "average_page_load": [0.5]})], [])
        running = at(JANUARY + ONE_DAY, 9)
        await store.commit([answer(JANUARY + ONE_DAY, {"calls": [2.0]}, sent_at=running)], [])


async def test_every_statement_runs(store_url: str) -> None:
    await fill(store_url)
    shown = [block for block in statements(store_url) if "CREATE ROLE" not in block]
    assert len(shown) == 7
    for block in shown:
        query(store_url, block)


async def test_they_show_what_they_say(store_url: str) -> None:
    await fill(store_url)
    per_month = query(store_url, block_with(store_url, "AS month"))
    assert per_month == [("8005551234", "Front desk", "2024-01", 6.0)]
    assert query(store_url, block_with(store_url, "nullif")) == [("8005551234", 0.5)]
    ((account, phone, days, *_),) = query(store_url, block_with(store_url, "NOT complete"))
    assert (account, phone, days) == ("main", "8005551234", 1)
    revisions = query(store_url, block_with(store_url, "FROM revisions"))
    assert sorted(row[-2:] for row in revisions) == [(1.0, 5.0), (5.0, 6.0)]
    missing = {str(row[2]) for row in query(store_url, block_with(store_url, "CROSS JOIN"))}
    assert {"2024-01-03", "2024-02-29"} <= missing
    assert not {"2024-01-01", "2024-01-02"} & missing


async def test_the_reader_s_login_reads_the_views_alone(postgres_url: str) -> None:
    await fill(postgres_url)
    query(postgres_url, block_with(postgres_url, "CREATE ROLE"))
    try:
        theirs = postgres_url.replace("postgres@", "calls_reader@", 1)
        assert query(theirs, "SELECT count(*) FROM performance_day") == [(2,)]
        with pytest.raises(Exception, match="permission denied for table value"):
            query(theirs, "SELECT * FROM value")
        for command in (["status"], ["export", "performance"], ["export", "volume"]):
            printed = harvester(*command, "--db", theirs)
            assert command[-1] == "volume" or "8005551234" in printed or "main" in printed
    finally:
        query(postgres_url, "DROP OWNED BY calls_reader; DROP ROLE calls_reader")
