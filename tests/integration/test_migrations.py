"""Migrations from an empty database and from each version, complete or not at all."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from harvester.core.metric_catalogue import METRICS
from harvester.core.model import QuotaRecord, RangeLimits
from harvester.core.period import Period
from harvester.errors import SchemaError
from harvester.store.account_store import AccountStore
from harvester.store.claims import Database
from harvester.store.migrate import migrate, migration_sql
from harvester.store.reader import Reader
from harvester.store.schema import HEAD, VERSIONS
from harvester.store.schema_state import schema_state
from harvester.store.types import SchemaFit
from tests.support.answers import identity, series
from tests.support.databases import claimed, query
from tests.support.postgres import Cluster
from tests.support.schema import difference, migrate_to

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from harvester.store.migrate import migrate

@event.listens_for(Engine, "before_cursor_execute")
def kill(connection, cursor, statement, parameters, context, executemany):
    if sys.argv[2] in statement:
        os.kill(os.getpid(), signal.SIGKILL)

migrate(sys.argv[1])
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_is_migrated_to_the_newest(store_url: str, version: str) -> None:
    assert schema_state(store_url)[:2] == (SchemaFit.EMPTY, None)
    migrate_to(store_url, version)
    assert schema_state(store_url)[:2] == (SchemaFit.HEAD if version == HEAD else SchemaFit.BEHIND, version)
    assert migrate(store_url) == (version, HEAD)
    assert migrate(store_url) == (HEAD, HEAD)
    assert schema_state(store_url)[:2] == (SchemaFit.HEAD, HEAD)
    assert difference(store_url) == ""


async def test_failed_slices_of_the_second_version_get_a_code(store_url: str) -> None:
    migrate_to(store_url, "0002")
    query(
        store_url,
        "INSERT INTO account (id, name, base_url, timezone, week_start, settle_days) VALUES"
        " (7, 'main', 'https://example.test/api', 'America/New_York', 'sunday', 3)",
    )
    query(store_url, "INSERT INTO series VALUES (5, 7, 'performance', '8005551234', 'day')")
    stored = {
        "2024-01-01": "The server refuses this slice: 400: Invalid start parameter.",
        "2024-02-01": "No usable answer came: 500",
        "2024-03-01": "the server refuses this slice: in words that no version wrote",
    }
    for day, error in stored.items():
        query(store_url, f"INSERT INTO failed_slice VALUES (5, '{day}', '{day}', '{error}', 1704200000, 3)")  # noqa: S608
    migrate(store_url)
    async with claimed(store_url, identity()) as store:
        failed = await store.failed([series()])
    assert [(str(one.first), one.code, one.error, one.failed_at, one.attempts) for one in failed] == [
        (day, code, stored[day], 1704200000, 3)
        for day, code in zip(stored, ("rejected", "error", "error"), strict=True)
    ]


async def test_records_of_the_third_version_are_taken_over(store_url: str) -> None:
    login = "0123456789abcdef"
    migrate_to(store_url, "0003")
    for number, name in enumerate(("main", "second"), start=7):
        query(
            store_url,
            "INSERT INTO account (id, name, base_url, timezone, week_start, settle_days) VALUES"  # noqa: S608
            f" ({number}, '{name}', 'https://example.test/api', 'America/New_York', 'sunday', 3)",
        )
        query(store_url, f"INSERT INTO quota VALUES ({number}, 150, {number}, 90, 1704200400, -0.25, {number})")  # noqa: S608
        query(store_url, f"INSERT INTO auth_attempt (account_id, at) VALUES ({number}, {number}.5)")  # noqa: S608
    migrate(store_url)
    with Reader(store_url) as reader:
        assert [one.quota.spent for one in reader.accounts() if one.quota] == [7, 8]
    async with claimed(store_url, identity(spender=login)) as store:
        assert await store.load() == QuotaRecord(150, 7, 90, 1_704_200_400, -0.25, 7.0)
    async with claimed(store_url, identity("second", spender=login)) as store:
        assert await store.load() == QuotaRecord(150, 8, 90, 1_704_200_400, -0.25, 8.0), "the newest one counts"
        assert await store.auth_attempts() == [7.5, 8.5]
    assert query(store_url, "SELECT spender FROM spender_quota") == [(login,)]


async def test_absence_of_the_fourth_version_counts_as_seen_once(store_url: str) -> None:
    migrate_to(store_url, "0004")
    query(
        store_url,
        "INSERT INTO account (id, name, base_url, timezone, week_start, settle_days) VALUES"
        " (7, 'main', 'https://example.test/api', 'America/New_York', 'sunday', 3)",
    )
    for number, period in enumerate(Period, 5):
        query(store_url, f"INSERT INTO series VALUES ({number}, 7, 'performance', '8005551234', '{period}')")  # noqa: S608
    query(
        store_url,
        "INSERT INTO coverage VALUES (5, '2024-01-01', '2024-01-31', '2024-01-31', -1),"
        " (6, '2024-01-07', '2024-01-20', '2024-02-10', 3), (7, '2024-01-01', '2024-02-29', '2024-03-04', 3)",
    )
    absent = {5: ["01-02", "01-03", "01-09", "01-30", "01-31"], 6: ["01-07", "01-14"], 7: ["01-01", "02-01"]}
    rows = ", ".join(f"({number}, '2024-{day}', 0, NULL)" for number, days in absent.items() for day in days)
    query(store_url, f"INSERT INTO absence VALUES {rows}")  # noqa: S608
    migrate(store_url)
    async with claimed(store_url, identity()) as store:
        found = await store.unconfirmed_absence()
    assert {one.period: [tuple(map(str, span)) for span in spans] for one, spans in found.items()} == {
        Period.DAY: [
            ("2024-01-02", "2024-01-03", "2024-01-31", "0"),
            ("2024-01-09", "2024-01-09", "2024-01-31", "0"),
            ("2024-01-30", "2024-01-30", "2024-01-31", "0"),  # the 31st had not ended
        ],
        Period.WEEK: [
            ("2024-01-07", "2024-01-13", "2024-02-10", "0"),
            ("2024-01-14", "2024-01-20", "2024-02-10", "0"),
        ],
        Period.MONTH: [
            ("2024-01-01", "2024-01-31", "2024-03-04", "0"),
            ("2024-02-01", "2024-02-29", "2024-03-04", "0"),
        ],
    }


async def test_widths_of_the_fifth_version_hold_for_each_stored_period(store_url: str) -> None:
    migrate_to(store_url, "0005")
    query(
        store_url,
        "INSERT INTO account (id, name, base_url, timezone, week_start, settle_days) VALUES"
        " (7, 'main', 'https://example.test/api', 'America/New_York', 'sunday', 3)",
    )
    for number, period in enumerate(("day", "week")):
        query(store_url, f"INSERT INTO series VALUES ({number}, 7, 'performance', '8005551234', '{period}')")  # noqa: S608
    query(store_url, "INSERT INTO width VALUES (7, 'performance', 92, 366, 1704200400)")
    migrate(store_url)
    async with claimed(store_url, identity()) as store:
        known = RangeLimits(92, 366, 1_704_200_400)
        assert await store.range_limits() == {("performance", one): known for one in (Period.DAY, Period.WEEK)}


def test_the_migrated_database_is_what_the_program_expects(store_url: str) -> None:
    migrate(store_url)
    assert difference(store_url) == ""
    query(store_url, "DROP VIEW revisions")
    query(store_url, "DROP TABLE revision")
    assert "revision" in difference(store_url)


def test_the_program_knows_all_versions() -> None:
    scripts = ScriptDirectory(str(ROOT / "migrations"))
    assert tuple(sorted(script.revision for script in scripts.walk_revisions())) == VERSIONS
    assert scripts.get_heads() == [HEAD]


def test_known_metrics_are_in_the_view(store_url: str) -> None:
    migrate(store_url)
    rows = query(store_url, "SELECT resource, metric, unit, additive, meaning FROM metrics")
    assert sorted(rows) == sorted(map(tuple, METRICS))


@pytest.mark.parametrize("statement", ["CREATE TABLE account", "INSERT INTO harvester_version", "UPDATE failed_slice"])
def test_a_killed_migration_leaves_the_old_schema(store_url: str, statement: str) -> None:
    """In its first statement, between two versions, in the last one."""
    done = subprocess.run([sys.executable, "-c", KILLED, store_url, statement], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert schema_state(store_url)[:2] == (SchemaFit.EMPTY, None)
    assert migrate(store_url) == (None, HEAD)


def test_printed_statements_migrate_alike_in_sqlite(sqlite_url: str) -> None:
    with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as database:
        database.executescript(migration_sql(sqlite_url))
    assert schema_state(sqlite_url)[:2] == (SchemaFit.HEAD, HEAD)
    assert difference(sqlite_url) == ""


@pytest.mark.parametrize("since", [None, *VERSIONS])
def test_printed_statements_migrate_alike_in_postgresql(
    postgres: Cluster, postgres_url: str, since: str | None
) -> None:
    schema = 'it\'s "odd"'
    if since is not None:
        migrate_to(postgres_url, since, schema)
    psql = [str(postgres.programs / "psql"), "-v", "ON_ERROR_STOP=1", "-q", "-d", postgres_url]
    subprocess.run(psql, input=migration_sql(postgres_url, schema, since=since).encode(), check=True, timeout=60)
    assert schema_state(postgres_url, schema)[:2] == (SchemaFit.HEAD, HEAD)
    assert difference(postgres_url, schema) == ""
    assert schema_state(postgres_url)[:2] == (SchemaFit.EMPTY, None)


def test_columns_are_commented_in_postgresql(postgres_url: str) -> None:
    migrate(postgres_url)
    without_comment = query(
        postgres_url,
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'v' AND n.nspname = 'public'"
        " AND col_description(c.oid, a.attnum) IS NULL",
    )
    assert without_comment == []


async def test_a_newer_schema_is_refused(store_url: str) -> None:
    migrate(store_url)
    query(store_url, "UPDATE harvester_version SET version_num = '9999'")
    assert schema_state(store_url)[:2] == (SchemaFit.NEWER, "9999")
    with pytest.raises(SchemaError, match="newer harvester"):
        migrate(store_url)
    database = Database(store_url, auto_migrate=True)
    with pytest.raises(SchemaError, match="newer harvester"):
        await database.claim(identity())
    await database.close()


async def test_postgresql_is_migrated_only_on_request(postgres_url: str) -> None:
    database = Database(postgres_url)
    with pytest.raises(SchemaError, match="run `harvester migrate`"):
        await database.claim(identity())
    migrate(postgres_url)
    assert isinstance(await database.claim(identity()), AccountStore)
    await database.close()


def test_a_file_of_another_program_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(SchemaError, match="another program's tables"):
        migrate(f"sqlite:///{path}")
    assert path.read_bytes() == before
