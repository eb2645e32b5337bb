"""Migrations of the schema, run by Alembic in one exclusive transaction.

The version is read after BEGIN IMMEDIATE in SQLite, and after taking an advisory lock in PostgreSQL. So of two programs
that start together one migrates and the other finds the newest schema, and a killed one leaves the old schema intact.

Migrations lead up only: no command needs the way down, and it would delete data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from sqlalchemy import Connection, text

from harvester.database.connection import StoreConnection
from harvester.database.dsn import PostgresTarget, SqliteTarget, Target, parse, refuse_foreign_links
from harvester.database.lock import advisory_key
from harvester.database.patience import LONG
from harvester.store.migration_scripts import alembic_config, migration_statements
from harvester.store.schema import HEAD
from harvester.store.schema_state import read_schema_state, refuse_unmigratable, schema_state_of
from harvester.store.types import SchemaFit


def migrate(url: str, schema: str = "public", password: str | None = None) -> tuple[str | None, str]:
    """Migrate the database to the newest schema; a missing SQLite file is created.

    Returns:
        The version found (None: an empty database) and the version reached.

    Raises:
        SchemaError: the schema is a newer program's, or the database is another program's.
        StoreError: the database cannot be used.
    """
    return migrate_target(parse(url, schema, password))


def migrate_target(target: Target, *, cut_off: Event | None = None) -> tuple[str | None, str]:
    """Migrate a target; see `migrate`, and StoreConnection for `cut_off`."""
    from alembic import command

    if isinstance(target, SqliteTarget):
        refuse_foreign_links(target)
    # Before it is opened for writing, which changes the file of SQLite, and creates a schema in PostgreSQL.
    refuse_unmigratable(target, schema_state_of(target, cut_off=cut_off))
    with exclusive_transaction(target, cut_off=cut_off) as connection:
        state = read_schema_state(target, connection)
        refuse_unmigratable(target, state)
        if state.fit is not SchemaFit.HEAD:
            command.upgrade(alembic_config(connection), "head")
    return state.revision, HEAD


def migration_sql(url: str, schema: str = "public", *, since: str | None = None) -> str:
    """Return the statements from a version (None: an empty database) to the newest, for psql or sqlite3.

    Reads no database.
    """
    target = parse(url, schema)
    statements = migration_statements("sqlite" if isinstance(target, SqliteTarget) else "postgresql", since)
    if isinstance(target, PostgresTarget):
        name, literal = _quoted(target.schema), target.schema.replace("'", "''")
        # Looked up first, for the reason given in `_ensure_schema`.
        create = (
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{literal}') "
            f"THEN CREATE SCHEMA {name}; END IF; END $$;"
        )
        return f"{create}\n\nSET search_path TO {name};\n\n{statements}"
    return statements


@contextmanager
def exclusive_transaction(target: Target, *, cut_off: Event | None = None) -> Iterator[Connection]:
    """Begin a transaction that excludes other migrations; create a missing PostgreSQL schema in it."""
    store_connection = StoreConnection(target, patience=LONG, cut_off=cut_off)
    try:
        with store_connection.transaction() as connection:
            if isinstance(target, PostgresTarget):
                key = advisory_key(target.schema, None)
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
                _ensure_schema(connection, target.schema)
            yield connection
    finally:
        store_connection.close()


def _ensure_schema(connection: Connection, schema: str) -> None:
    # Looked up first: CREATE SCHEMA IF NOT EXISTS needs the privilege to create even if the schema exists.
    exists = connection.scalar(text("SELECT 1 FROM pg_namespace WHERE nspname = :schema"), {"schema": schema})
    if not exists:
        connection.execute(text(f"CREATE SCHEMA {_quoted(schema)}".replace(":", r"\:")))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
