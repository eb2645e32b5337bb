"""The migrations as Alembic finds and runs them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from harvester.errors import StoreError

if TYPE_CHECKING:
    from alembic.config import Config


def migration_statements(dialect: str, since: str | None) -> str:
    """Return the statements from a version (None: an empty database) to the newest; `dialect` is SQLAlchemy's name."""
    from alembic import command

    config = alembic_config(None)
    config.attributes["dialect"] = dialect
    config.output_buffer = io.StringIO()
    command.upgrade(config, f"{since or 'base'}:head", sql=True)
    return config.output_buffer.getvalue()


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
