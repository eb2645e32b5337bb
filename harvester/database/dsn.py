"""Database targets: where a database is, and how a connection to it is opened.

A PostgreSQL URL goes to libpq unchanged, so a service file, a password file, `sslmode` or a socket directory work as
they do for psql; the defaults added here yield to the URL and the environment. An SQLite file is opened for writing
in WAL mode, and every transaction begins with BEGIN IMMEDIATE: a deferred one that starts to write later fails at
once if another connection writes, whatever `busy_timeout` says.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final

from harvester.config.database_url import sqlite_path, validate
from harvester.database.patience import CONNECT_SECONDS, ORDINARY, Patience
from harvester.database.session_state import ENCODING, pin
from harvester.database.sqlite_reading import connect_read_only
from harvester.errors import ConfigError, StoreError
from harvester.links import resolve_own
from harvester.redaction import Redactor

if TYPE_CHECKING:
    from harvester.database.postgres import DeadlineConnection

BUSY_TIMEOUT_SECONDS: Final = 30.0  # for another writer of the same file
MAX_LOG_BYTES: Final = 8 * 1024**2  # of the write-ahead log, while no reader needs more of it
_BUSY_SLICE_SECONDS: Final = 0.25  # of that time which SQLite waits at once; in between the wait may be cut off
_KEEPALIVE: Final = {
    # A host that died is noticed after about a minute, instead of the two hours of TCP's own default.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
_SET_SERVER_KEEPALIVE: Final = (
    # The same at the other end: the server releases the locks of a dead host, and would wait two hours, too.
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;"
    " SET tcp_user_timeout = 60000"
)


@dataclass(frozen=True, slots=True)
class SqliteTarget:
    """An SQLite file. `path` is free of links, so that two names of one file share its locks."""

    path: Path
    given: Path = field(repr=False, compare=False)  # as configured, perhaps with links
    redactor: Redactor = field(default_factory=Redactor, repr=False, compare=False)  # there is no secret

    def __str__(self) -> str:
        return str(self.path)

    def connect(
        self, *, read_only: bool = False, patience: Patience = ORDINARY, cut_off: Event | None = None
    ) -> sqlite3.Connection:
        """Open the file; for writing, create it if it is missing.

        Args:
            read_only: open it without the ability to write.
            patience: unused: a statement waits for nothing but the lock of the file, see `begin_immediate`.
            cut_off: unused; see `begin_immediate`.

        Raises:
            StoreError: the file is missing, or not a usable database.
        """
        del patience, cut_off
        _refuse_unusable(self.path, must_exist=read_only)
        if read_only:
            return self._connect_read_only()
        refuse_foreign_links(self)
        # Used by the database thread, opened by any thread.
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
            # A reader that stays open makes the log grow; it shrinks again once he has gone.
            connection.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _connect_read_only(self) -> sqlite3.Connection:
        connection = connect_read_only(self.path, BUSY_TIMEOUT_SECONDS)
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        return connection


@dataclass(frozen=True, slots=True)
class PostgresTarget:
    """A PostgreSQL database, by its libpq URL, and a schema in it."""

    url: str = field(repr=False)  # may hold a password
    schema: str
    password: str | None = field(repr=False)
    where: str  # the database in words, without secrets
    redactor: Redactor = field(repr=False, compare=False)  # knows the secrets given to libpq

    def __str__(self) -> str:
        return self.where

    def connect(
        self, *, read_only: bool = False, patience: Patience = ORDINARY, cut_off: Event | None = None
    ) -> DeadlineConnection:
        """Connect, with the schema as the only one in the search path and the session's other settings pinned.

        Args:
            read_only: only allow reading, from one snapshot per transaction.
            patience: deadlines of the statements that follow; those of connecting are ordinary ones.
            cut_off: set from any thread, it closes the connection and ends its waits.

        Raises:
            StoreError: the connection failed.
        """
        import psycopg

        from harvester.database.postgres import DeadlineConnection

        # psycopg raises an error for a lost connection and logs it, too: in its own format, with user and database.
        logging.getLogger("psycopg").setLevel(logging.CRITICAL + 1)
        settings = {**_defaults(self.url), "client_encoding": ENCODING}
        if self.password is not None:
            settings["password"] = self.password
        try:
            connection = DeadlineConnection.connect(self.url, autocommit=True, **settings)
        except psycopg.Error as error:
            # Not chained: its message is in the new one, and its repr might contain the password in a later release.
            raise self._refused(error) from None
        connection.cut_off = cut_off
        try:
            connection.backend = pin(connection, self.schema, self.where)
            connection.execute(_SET_SERVER_KEEPALIVE)
            if not read_only:
                connection.limit_idle_time()
            connection.set_patience(patience)
            connection.autocommit = False
            if read_only:
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        except psycopg.Error as error:
            connection.close()
            raise self._refused(error) from None
        except StoreError:
            connection.close()
            raise
        return connection

    def _refused(self, error: Exception) -> StoreError:
        line = first_line(error, self.redactor)
        return StoreError(f"cannot connect to {self.where} ({line}); check the server and database.url")


Target = SqliteTarget | PostgresTarget


def refuse_foreign_links(target: Target) -> None:
    """Raise StoreError if the path to an SQLite file to write leads through a link of another user."""
    if isinstance(target, SqliteTarget):
        try:
            resolve_own(target.given)
        except OSError as error:
            raise StoreError(f"{target.given}: {error.strerror}") from error


def begin_immediate(driver: sqlite3.Connection, cut_off: Event) -> None:
    """Begin a writing transaction; wait for another writer of the file, until cut off.

    Raises:
        sqlite3.OperationalError: the file is still locked after BUSY_TIMEOUT_SECONDS, or the wait was cut off.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    # SQLite cannot be interrupted while it waits for a lock, so it waits in slices.
    _set_busy_timeout(driver, min(_BUSY_SLICE_SECONDS, BUSY_TIMEOUT_SECONDS))
    try:
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or cut_off.is_set() or time.monotonic() >= deadline:
                    raise
            else:
                return
    finally:
        _set_busy_timeout(driver, BUSY_TIMEOUT_SECONDS)


def _set_busy_timeout(driver: sqlite3.Connection, seconds: float) -> None:
    driver.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}").close()


def parse(url: str, schema: str = "public", password: str | None = None) -> Target:
    """Return the target that a `database.url` names.

    Raises:
        ConfigError: the URL cannot be used.
    """
    try:
        path = sqlite_path(validate(url))
    except ValueError as error:
        raise ConfigError(f"database.url: {error}") from None
    return SqliteTarget(path.resolve(), path) if path is not None else _postgres(url, schema, password)


def _postgres(url: str, schema: str, password: str | None) -> PostgresTarget:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:  # its message may quote the password
        raise ConfigError(
            "database.url: libpq cannot parse it; in user and password, write / @ : ? # % as %2F %40 %3A %3F %23 %25"
        ) from None
    host = parts.get("host") or parts.get("hostaddr") or os.environ.get("PGHOST") or "the local server"
    name = parts.get("dbname") or os.environ.get("PGDATABASE")
    where = f"service {parts['service']}" if "service" in parts else f"database {name} at {host}" if name else str(host)
    in_url = parts.get("password")
    secret = password if password is not None or in_url is None else str(in_url)
    redactor = Redactor(secret, *(str(parts[key]) for key in ("password", "sslpassword") if parts.get(key)))
    redactor.add(os.environ.get("PGPASSWORD"))
    redactor.add_url_login(url)
    return PostgresTarget(url, schema, secret, where, redactor)


def _defaults(url: str) -> dict[str, Any]:
    """Return the settings for libpq that neither the URL nor the environment contains."""
    from psycopg.conninfo import conninfo_to_dict

    settings: dict[str, Any] = {"fallback_application_name": "harvester", **_KEEPALIVE}
    if "PGCONNECT_TIMEOUT" not in os.environ:
        settings["connect_timeout"] = CONNECT_SECONDS
    in_url = conninfo_to_dict(url)
    return {key: value for key, value in settings.items() if key not in in_url}


def first_line(error: BaseException, redactor: Redactor) -> str:
    """Return the first line of a driver's message, without secrets."""
    line = redactor.redact(str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"\s+", " ", line)


def _refuse_unusable(path: Path, *, must_exist: bool) -> None:
    """Raise StoreError unless the file is an SQLite database, or may become one."""
    try:
        if path.is_dir():
            raise StoreError(f"{path} is a directory; name a file in database.url")
        if not path.parent.is_dir():
            raise StoreError(f"the directory {path.parent} does not exist; create it, or correct database.url")
        if not path.exists():
            if must_exist:
                raise StoreError(f"{path} does not exist yet; `harvester backfill` creates it")
            return
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    if head and head != b"SQLite format 3\0":
        raise StoreError(f"{path} is not an SQLite database and was not changed; name another file in database.url")
