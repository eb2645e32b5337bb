"""State of a database's schema: which version it has, and what stands in the way of using or migrating it.

PostgreSQL hides from a login what it has no right to, so a schema that looks empty may be another one, a forbidden one,
or one that is shared with another program. Its catalogue, which every login may read, tells these cases apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from threading import Event
from typing import Any, Final

from sqlalchemy import Connection, Row, inspect, text

from harvester.database.connection import StoreConnection
from harvester.database.dsn import PostgresTarget, SqliteTarget, Target, parse
from harvester.database.patience import ORDINARY, Patience
from harvester.errors import SchemaError, SchemaUnknown, StoreError
from harvester.store.migration_scripts import migration_statements
from harvester.store.schema import HEAD, VERSION_TABLE, VERSIONS
from harvester.store.types import SchemaFit, SchemaState

_CREATED: Final = re.compile(r"\b(?:CREATE (?:UNIQUE )?(?:TABLE|VIEW|INDEX)|CONSTRAINT(?= (?:pk|uq)_)) (\w+)")
_RIGHTS: Final = text(
    "SELECT n.oid AS oid, has_schema_privilege(n.oid, 'USAGE') AS may_use, has_schema_privilege(n.oid, 'CREATE') AS"
    " may_create, has_database_privilege(current_database(), 'CREATE') AS may_create_schema, current_user AS login,"
    " array(SELECT o.nspname FROM pg_class v JOIN pg_namespace o ON o.oid = v.relnamespace"
    " WHERE v.relname = :version AND v.relkind = 'r' AND o.nspname <> :schema ORDER BY 1) AS elsewhere"
    " FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = :schema"
)
_RELATIONS: Final = text(
    "SELECT relname AS name, pg_has_role(relowner, 'USAGE') AS is_own, pg_get_userbyid(relowner) AS owner"
    " FROM pg_class WHERE relnamespace = :oid UNION ALL"
    " SELECT typname, false, '' FROM pg_type WHERE typnamespace = :oid AND typrelid = 0 AND typelem = 0"
)


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
            return read_schema_state(target, connection)
    finally:
        store_connection.close()


def read_schema_state(target: Target, connection: Connection) -> SchemaState:
    """Return the state of the target's schema, read over a connection.

    Raises:
        StoreError: the login may not read it.
    """
    if isinstance(target, PostgresTarget):
        return _read_postgres(target, connection)
    inspector = inspect(connection)
    if not inspector.has_table(VERSION_TABLE):
        # A file with other tables was named by mistake.
        return SchemaState(SchemaFit.FOREIGN if inspector.get_table_names() else SchemaFit.EMPTY, None)
    return _versioned(connection)


def _versioned(connection: Connection) -> SchemaState:
    revision = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    if revision is None:
        return SchemaState(SchemaFit.EMPTY, None)
    if revision not in VERSIONS:
        return SchemaState(SchemaFit.NEWER, revision)
    return SchemaState(SchemaFit.HEAD if revision == HEAD else SchemaFit.BEHIND, revision)


def _read_postgres(target: PostgresTarget, connection: Connection) -> SchemaState:
    schema = target.schema
    rights = connection.execute(_RIGHTS, {"schema": schema, "version": VERSION_TABLE}).one()
    elsewhere = tuple(rights.elsewhere)
    if rights.oid is None:
        obstacle = (
            ""
            if rights.may_create_schema
            else (
                f'{target} has no schema "{schema}", and {rights.login} may not create it; correct database.schema, or'
                f" run CREATE SCHEMA {schema} AUTHORIZATION {_identifier(rights.login)} as an administrator"
            )
        )
        return SchemaState(SchemaFit.MISSING, None, obstacle, elsewhere)
    relations = {row.name: row for row in connection.execute(_RELATIONS, {"oid": rights.oid})}
    if not rights.may_use:
        raise StoreError(
            f'{target} does not let {rights.login} use the schema "{schema}"; grant it with GRANT USAGE ON SCHEMA'
            f" {schema} TO {_identifier(rights.login)}, or correct database.schema or the user in database.url"
        )
    if VERSION_TABLE not in relations:
        return SchemaState(SchemaFit.EMPTY, None, _obstacle_to_first(target, rights, relations), elsewhere)
    refuse_unreadable(target, connection, [VERSION_TABLE])
    state = _versioned(connection)
    if state.fit is not SchemaFit.BEHIND:
        return state
    return state._replace(obstacle=_obstacle_to_next(target, rights, relations, state.revision))


def _obstacle_to_first(target: PostgresTarget, rights: Row[Any], relations: Collection[str]) -> str:
    if not rights.may_create:
        return (
            f'{target} has no tables of the harvester in the schema "{target.schema}", and {rights.login} may not'
            f" create any there; run GRANT CREATE ON SCHEMA {target.schema} TO {_identifier(rights.login)}, or correct"
            " database.schema"
        )
    return _taken(target, relations, None) if relations else ""


def _obstacle_to_next(
    target: PostgresTarget, rights: Row[Any], relations: dict[str, Row[Any]], revision: str | None
) -> str:
    version = relations[VERSION_TABLE]
    if not version.is_own:
        return (
            f"{target} has the older schema {revision}, which only the owner of its tables can migrate,"
            f" {version.owner}, and not {rights.login}; run `harvester migrate` with {version.owner} in database.url"
        )
    return _taken(target, relations, revision)


def _taken(target: PostgresTarget, relations: Collection[str], since: str | None) -> str:
    """Return what to do about relations whose names a migration from `since` would use; "" if there are none."""
    taken = sorted({*_CREATED.findall(migration_statements("postgresql", since))}.intersection(relations))
    if not taken:
        return ""
    return (
        f'{target} has another program\'s {", ".join(taken)} in the schema "{target.schema}", so the harvester cannot'
        " create its own there; set database.schema to a schema of its own"
    )


def refuse_unreadable(target: Target, connection: Connection, names: Sequence[str]) -> None:
    """Raise StoreError if the login may not read these tables and views of the target's schema."""
    if isinstance(target, SqliteTarget):
        return
    denied = connection.execute(
        text(
            "SELECT c.relname AS name, current_user AS login"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = :schema AND c.relname = ANY(:names) AND NOT has_any_column_privilege(c.oid, 'SELECT')"
            " ORDER BY 1"
        ),
        {"schema": target.schema, "names": list(names)},
    ).all()
    if denied:
        lacking, login = ", ".join(row.name for row in denied), denied[0].login
        raise StoreError(
            f'{target} does not let {login} read {lacking} in the schema "{target.schema}"; run GRANT SELECT ON'
            f" {', '.join(f'{target.schema}.{row.name}' for row in denied)} TO {_identifier(login)}"
        )


def refuse_unknown(target: Target, state: SchemaState) -> None:
    """Raise SchemaUnknown if no migration starts from this state."""
    if state.fit is SchemaFit.NEWER:
        raise SchemaUnknown(f"{target} has schema {state.revision} of a newer harvester; use that one")
    if state.fit is SchemaFit.FOREIGN:
        raise SchemaUnknown(f"{target} contains another program's tables; give the harvester a file of its own")


def refuse_unmigratable(target: Target, state: SchemaState) -> None:
    """Raise SchemaError if a migration from this state would fail."""
    refuse_unknown(target, state)
    if state.obstacle:
        raise SchemaError(state.obstacle)


def refuse_elsewhere(target: Target, state: SchemaState) -> None:
    """Raise SchemaError if the schema has no tables of the harvester, and another one of the database has."""
    if state.elsewhere and isinstance(target, PostgresTarget):
        lack = (
            f'no schema "{target.schema}"'
            if state.fit is SchemaFit.MISSING
            else f'no tables in the schema "{target.schema}"'
        )
        others = ", ".join(f'"{name}"' for name in state.elsewhere)
        raise SchemaError(
            f"{target} has {lack}, but the harvester's tables in {others}; correct database.schema (with --db:"
            " HARVESTER_DATABASE__SCHEMA), or run `harvester migrate` to begin new ones"
        )


def refuse_unready(target: Target, state: SchemaState) -> None:
    """Raise SchemaError unless the schema is the one that this program needs."""
    refuse_unknown(target, state)
    if state.fit is SchemaFit.HEAD:
        return
    refuse_elsewhere(target, state)
    if state.obstacle:
        raise SchemaError(state.obstacle)
    if state.fit is SchemaFit.BEHIND:
        raise SchemaError(f"{target} has the older schema {state.revision}; run `harvester migrate`")
    if isinstance(target, SqliteTarget):
        raise SchemaError(f"{target} has no tables yet; run `harvester migrate` to create them")
    if state.fit is SchemaFit.MISSING:
        raise SchemaError(
            f'{target} has no schema "{target.schema}"; correct database.schema, or run `harvester migrate` to'
            " create it"
        )
    raise SchemaError(
        f'{target} has no tables in the schema "{target.schema}" yet; run `harvester migrate` to create them, or'
        " correct database.schema"
    )


def _identifier(name: str) -> str:
    """Return a name as SQL has it."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'
