"""Where the database is, and how a connection to it is opened.

A PostgreSQL URL goes to libpq untouched, so that a service file, a password file, `sslmode` or a socket directory
work as they do for psql; what is added here gives way to what the URL or the environment says. An SQLite file is
opened for writing in WAL mode, every transaction by BEGIN IMMEDIATE: a deferred one that turns to writing later
fails at once when somebody else writes, whatever `busy_timeout` says.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harvester.errors import ConfigError, StoreError
from harvester.redaction import Redactor

if TYPE_CHECKING:
    import psycopg

SQLITE: Final = "sqlite:///"
POSTGRESQL: Final = ("postgresql://", "postgres://")
BUSY_TIMEOUT: Final = 30.0  # seconds to wait for another writer of the same file
_KEEPALIVE: Final = {
    # A host that died takes about a minute to be noticed, not the two hours of TCP's own default.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
_KEEPALIVE_OF_SERVER: Final = (
    # The same for the other end: it is the server that frees a dead host's locks, and it would wait two hours, too.
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;"
    " SET tcp_user_timeout = 60000"
)


@dataclass(frozen=True, slots=True)
class SqliteTarget:
    """A file. `path` has no links in it, so that two names of one file share its locks."""

    path: Path
    redactor: Redactor = field(default_factory=Redactor, repr=False, compare=False)  # there is no secret

    def __str__(self) -> str:
        return str(self.path)

    def connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        """Open the file; for writing it is created where missing.

        Raises:
            StoreError: there is no such file, or it is none that can be used.
        """
        _refuse_unusable(self.path, must_exist=read_only)
        if read_only:
            return self._connect_read_only()
        # The writer's thread uses the connection, whichever thread opened it.
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _connect_read_only(self) -> sqlite3.Connection:
        uri = f"{self.path.as_uri()}?mode=ro"
        wal = self.path.with_name(f"{self.path.name}-wal")
        if not os.access(self.path.parent, os.W_OK) and not _holds_bytes(wal):
            # WAL needs a shared-memory file beside the database. Where none can be made and nothing waits in the
            # log, nobody on this side of the directory's permissions writes: the file alone is the whole truth.
            uri += "&immutable=1"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        return connection


@dataclass(frozen=True, slots=True)
class PostgresTarget:
    """A libpq URL and a schema."""

    url: str = field(repr=False)  # may hold a password
    schema: str
    password: str | None = field(repr=False)
    where: str
    redactor: Redactor = field(repr=False, compare=False)  # knows what libpq is given

    def __str__(self) -> str:
        return self.where

    def connect(self, *, read_only: bool = False) -> psycopg.Connection[Any]:
        """Connect, with the schema as the whole search path.

        Raises:
            StoreError: no connection came about.
        """
        import psycopg
        from psycopg import sql

        # Of a lost connection it also logs, in words of its own and with user and database, past the exception.
        logging.getLogger("psycopg").setLevel(logging.CRITICAL + 1)
        settings = {**_defaults(self.url), **({"password": self.password} if self.password is not None else {})}
        try:
            connection = psycopg.connect(self.url, autocommit=True, **settings)
        except psycopg.Error as error:
            # The cause is not chained: what libpq says is kept, but nobody knows what its repr will hold one day.
            raise StoreError(f"{self.where} takes no connection ({self._first_line(error)})") from None
        path = sql.SQL("SET search_path TO {}").format(sql.Identifier(self.schema))
        try:
            connection.execute(path)
            connection.execute(_KEEPALIVE_OF_SERVER)
            connection.autocommit = False
            if read_only:
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        except psycopg.Error as error:
            connection.close()
            raise StoreError(f"{self.where} takes no connection ({self._first_line(error)})") from None
        return connection

    def _first_line(self, error: Exception) -> str:
        return self.redactor.redact(str(error).strip() or type(error).__name__).splitlines()[0]


Target = SqliteTarget | PostgresTarget


def parse(url: str, schema: str = "public", password: str | None = None) -> Target:
    """Tell what a `database.url` means.

    Raises:
        ConfigError: it is none that can be used.
    """
    if url.startswith(SQLITE):
        return _sqlite(url.removeprefix(SQLITE))
    if url.startswith(POSTGRESQL):
        return _postgres(url, schema, password)
    scheme = url.partition(":")[0]
    if scheme.startswith(("postgresql+", "postgres+")):
        raise ConfigError(f'database.url: write "postgresql://", without "{scheme[scheme.index("+") :]}"')
    raise ConfigError('database.url: begin it with "sqlite:///" or "postgresql://"')


def _sqlite(name: str) -> SqliteTarget:
    if not name or name.startswith((":memory:", "file:")):
        raise ConfigError('database.url: a file is needed, such as "sqlite:///voicetrends.db"')
    if "?" in name:
        raise ConfigError('database.url: an SQLite URL takes no options; leave out what begins with "?"')
    return SqliteTarget(Path(name).resolve())


def _postgres(url: str, schema: str, password: str | None) -> PostgresTarget:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:  # its message may quote the password
        raise ConfigError(
            "database.url: libpq does not understand it; in user and password, write / @ : ? # % as %2F %40 %3A ..."
        ) from None
    if not schema or "\0" in schema:
        raise ConfigError('database.schema: name a schema, such as "public"')
    host = parts.get("host") or parts.get("hostaddr") or os.environ.get("PGHOST") or "the local server"
    name = parts.get("dbname") or os.environ.get("PGDATABASE")
    where = f"service {parts['service']}" if "service" in parts else f"database {name} at {host}" if name else str(host)
    given = parts.get("password")
    secret = password if password is not None or given is None else str(given)
    redactor = Redactor(secret, *(str(parts[key]) for key in ("password", "sslpassword") if parts.get(key)))
    redactor.add(os.environ.get("PGPASSWORD"))
    redactor.add_url_login(url)
    return PostgresTarget(url, schema, secret, where, redactor)


def _defaults(url: str) -> dict[str, Any]:
    from psycopg.conninfo import conninfo_to_dict

    wanted: dict[str, Any] = {"fallback_application_name": "harvester", **_KEEPALIVE}
    if "PGCONNECT_TIMEOUT" not in os.environ:
        wanted["connect_timeout"] = 10
    given = conninfo_to_dict(url)
    return {key: value for key, value in wanted.items() if key not in given}


def _holds_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _refuse_unusable(path: Path, *, must_exist: bool) -> None:
    try:
        if path.is_dir():
            raise StoreError(f"{path} is a directory; name a file in database.url")
        if not path.parent.is_dir():
            raise StoreError(f"there is no directory {path.parent}; make it, or mend database.url")
        if not path.exists():
            if must_exist:
                raise StoreError(f"there is no {path} yet; a backfill makes it")
            return
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    if head and head != b"SQLite format 3\0":
        raise StoreError(f"{path} is no SQLite database; name another file in database.url")
