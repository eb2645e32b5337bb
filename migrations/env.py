"""Alembic's environment: it runs over a connection, and inside a transaction, of harvester/store/migrate.py.

There is no alembic.ini. The caller begins the transaction before the version is read (SQLite: BEGIN IMMEDIATE,
PostgreSQL: under an advisory lock), so two programs never migrate at once, and a killed one leaves the old schema.
"""

from typing import Any

from alembic import context

from harvester.store.schema import VERSION_TABLE, metadata

OPTIONS: dict[str, Any] = {"target_metadata": metadata, "version_table": VERSION_TABLE, "transactional_ddl": True}


def _is_own_table(name: str | None, kind: str, _parents: object) -> bool:
    """Return False for the tables of other programs in a shared schema."""
    return kind != "table" or name in metadata.tables


attributes = context.config.attributes
if context.is_offline_mode():
    context.configure(dialect_name=attributes["dialect"], literal_binds=True, **OPTIONS)
else:
    context.configure(connection=attributes["connection"], include_name=_is_own_table, **OPTIONS)
with context.begin_transaction():
    context.run_migrations()
