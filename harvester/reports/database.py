"""Which database `status` and `export` read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harvester import config
from harvester.config.database_url import sqlite_path
from harvester.errors import UsageError
from harvester.store.reader import Reader

if TYPE_CHECKING:
    from harvester.config import Settings

_SCHEMA = "HARVESTER_DATABASE__SCHEMA"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database is."""

    url: str = field(repr=False)  # may hold a password
    schema: str = "public"
    password: str | None = field(default=None, repr=False)

    def open(self) -> Reader:
        """One view of what is stored, to be closed.

        Raises:
            StoreError: it is missing, not migrated, or cannot be used.
        """
        return Reader(self.url, self.schema, self.password)

    def is_at(self, file: Path) -> bool:
        """Whether the database is this file."""
        database = self.path
        return database is not None and database.exists() and file.exists() and file.samefile(database)

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database, else None."""
        return sqlite_path(self.url)


def named_place(name: str, environ: Mapping[str, str], *, cwd: Path, home: Path) -> Place:
    """The database that `--db` names: a URL, or the path of an SQLite file. Needs no configuration.

    Raises:
        UsageError: it is neither.
    """
    url = name if "://" in name or name.startswith("sqlite:") else f"sqlite:///{name}"
    try:
        return Place(config.locate_database(url, base=cwd, home=home), environ.get(_SCHEMA) or "public")
    except ValueError as error:
        raise UsageError(f"--db: {error}") from None


def configured_place(settings: Settings, environ: Mapping[str, str]) -> Place:
    """The configured database.

    Raises:
        ConfigError: its password cannot be had.
    """
    database = settings.database
    return Place(database.url, database.schema, config.database_password(settings, environ))
