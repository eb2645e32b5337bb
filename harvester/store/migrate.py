"""Migrations of the schema, run by Alembic in one exclusive transaction.

The version is read after BEGIN IMMEDIATE in SQLite, and after taking an advisory lock in PostgreSQL. So of two programs
that start together one migrates and the other finds the newest schema, and a killed one leaves the old schema intact.

Migrations lead up only: no command needs the way down, and it would delete data.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text

from harvester.errors import SchemaError, SchemaUnknown, StoreError
from harvester.store.connection import StoreConnection
from harvester.store.dsn import PostgresTarget, SqliteTarget, Target, parse, refuse_foreign_links
from harvester.store.lock import advisory_key
from harvester.store.patience import LONG, ORDINARY, Patience
from harvester.store.schema import HEAD, VERSION_TABLE, VERSIONS
from harvester.store.types import SchemaFit, SchemaState

if TYPE_CHECKING:
    from alembic.config import Config


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
        refuse_unknown(target, schema_state_of(target))  # before it is opened for writing, which changes the file
    with exclusive_transaction(target, cut_off=cut_off) as connection:
        state = read_schema_state(connection)
        refuse_unknown(target, state)
        if state.fit is not SchemaFit.HEAD:
            command.upgrade(alembic_config(connection), "head")
    return state.revision, HEAD


def migration_sql(url: str, schema: str = "public", *, since: str | None = None) -> str:
    """Return the statements from a version (None: an empty database) to the newest, for psql or sqlite3.

    Reads no database.
    """
    from alembic import command

    target = parse(url, schema)
    config = alembic_config(None)
    config.attributes["dialect"] = "sqlite" if isinstance(target, SqliteTarget) else "postgresql"
    config.output_buffer = io.StringIO()
    command.upgrade(config, f"{since or 'base'}:head", sql=True)
    statements = config.output_buffer.getvalue()
    if isinstance(target, PostgresTarget):
        name, literal = _quoted(target.schema), target.schema.replace("'", "''")
        # Looked up first, for the reason given in `_ensure_schema`.
        create = (
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{literal}') "
            f"THEN CREATE SCHEMA {name}; END IF; END $$;"
        )
        return f"{create}\n\nSET search_path TO {name};\n\n{statements}"
    return statements


def schema_state(url: str, schema: str = "public", password: str | None = None) -> SchemaState:
    """Return the state of the database's schema. A missing SQLite file counts as an empty database; none is created.

    Raises:
        StoreError: the database cannot be used.
    """
    return schema_state_of(parse(url, schema, password))


def schema_state_of(target: Target, *, patience: Patience = ORDINARY, cut_off: Event | None = None) -> SchemaState:
    """Return the state of a target's schema; see `schema_state`, and StoreConnection for the other arguments."""
    if isinstance(target, SqliteTarget) and target.path.parent.is_dir() and not target.path.exists():
        return SchemaState(SchemaFit.EMPTY, None)
    store_connection = StoreConnection(target, read_only=True, patience=patience, cut_off=cut_off)
    try:
        with store_connection.transaction() as connection:
            return read_schema_state(connection)
    finally:
        store_connection.close()


def read_schema_state(connection: Connection) -> SchemaState:
    """Return the state of the schema, read over a connection."""
    inspector = inspect(connection)
    if not inspector.has_table(VERSION_TABLE):
        # A PostgreSQL schema may be shared; an SQLite file with other tables was named by mistake.
        foreign = connection.dialect.name == "sqlite" and inspector.get_table_names()
        return SchemaState(SchemaFit.FOREIGN if foreign else SchemaFit.EMPTY, None)
    revision = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    if revision is None:
        return SchemaState(SchemaFit.EMPTY, None)
    if revision not in VERSIONS:
        return SchemaState(SchemaFit.NEWER, revision)
    return SchemaState(SchemaFit.HEAD if revision == HEAD else SchemaFit.BEHIND, revision)


def refuse_unknown(target: Target, state: SchemaState) -> None:
    """Raise SchemaUnknown if no migration starts from this state."""
    if state.fit is SchemaFit.NEWER:
        raise SchemaUnknown(f"{target} has schema {state.revision} of a newer harvester; use that one")
    if state.fit is SchemaFit.FOREIGN:
        raise SchemaUnknown(f"{target} contains another program's tables; give the harvester a file of its own")


def refuse_unready(target: Target, state: SchemaState) -> None:
    """Raise SchemaError unless the schema is the one that this program needs."""
    refuse_unknown(target, state)
    if state.fit is SchemaFit.EMPTY:
        raise SchemaError(f"{target} has no tables yet; run `harvester migrate` to create them")
    if state.fit is SchemaFit.BEHIND:
        raise SchemaError(f"{target} has the older schema {state.revision}; run `harvester migrate`")


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


def alembic_config(connection: Connection | None) -> Config:
    """Return what Alembic needs to find the migrations, and to run them over a connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    attributes: dict[str, Any] = config.attributes
    if connection is not None:
        attributes["connection"] = connection
    return config


def _directory() -> Path:
    package = Path(__file__).resolve().parent.parent
    for place in (package / "migrations", package.parent / "migrations"):  # a wheel, a checkout
        if (place / "env.py").is_file():
            return place
    raise StoreError(f"the migrations are missing beside {package}; install the harvester again")
