"""Location of the database that `status` and `export` read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harvester import config
from harvester.config import Settings
from harvester.config.database_url import sqlite_path
from harvester.errors import UsageError
from harvester.store.reader import Reader

_SCHEMA_VARIABLE = "HARVESTER_DATABASE__SCHEMA"


@dataclass(frozen=True, slots=True)
class DatabaseLocation:
    """URL, schema and password of a database."""

    url: str = field(repr=False)  # may hold a password
    schema: str = "public"
    password: str | None = field(default=None, repr=False)

    def open(self) -> Reader:
        """Open a reader with one consistent view of the database. The caller closes it.

        Raises:
            StoreError: the database is missing, not migrated or not usable.
        """
        return Reader(self.url, self.schema, self.password)

    def is_at(self, file: Path) -> bool:
        """Return True if the database is this file."""
        database = self.path
        return database is not None and database.exists() and file.exists() and file.samefile(database)

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database; None for another one."""
        return sqlite_path(self.url)


def named_location(name: str, environ: Mapping[str, str], *, cwd: Path, home: Path) -> DatabaseLocation:
    """Return the database that `--db` names by a URL or the path of an SQLite file. Needs no configuration.

    Raises:
        UsageError: `name` is neither.
    """
    url = name if "://" in name or name.startswith("sqlite:") else f"sqlite:///{name}"
    try:
        located = config.locate_database(url, base=cwd, home=home)
    except ValueError as error:
        raise UsageError(f"--db: {error}") from None
    return DatabaseLocation(located, environ.get(_SCHEMA_VARIABLE) or "public")


def configured_location(settings: Settings, environ: Mapping[str, str]) -> DatabaseLocation:
    """Return the configured database.

    Raises:
        ConfigError: its password cannot be read.
    """
    database = settings.database
    return DatabaseLocation(database.url, database.schema, config.database_password(settings, environ))
