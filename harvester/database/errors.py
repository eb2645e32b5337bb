"""Translation of database errors to StoreError, StoreLost and SchemaError: one line each that says what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from harvester.database.dsn import BUSY_TIMEOUT_SECONDS, Target, first_line
from harvester.errors import SchemaError, StoreError, StoreLost

_RERUN: Final = "then rerun the same command"
# By SQLite's primary error code: what happened, and what to do about it.
_LOCKED: Final = (f"has been locked by another program for {BUSY_TIMEOUT_SECONDS:.0f} s", f"end that program, {_RERUN}")
_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_READONLY: ("is read-only", "give this user permission to write to the file and its directory"),
    sqlite3.SQLITE_PERM: ("is not accessible to this user", "change its permissions"),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", f"stored data is safe; free some space, {_RERUN}"),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened",
        "give this user permission to write to the file and its directory (is the disk read-only?)",
    ),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "it was not changed; restore a backup, or name another file"),
    sqlite3.SQLITE_NOTADB: ("is not an SQLite database", "name another file in database.url"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", f"check the disk for errors and free space, {_RERUN}"),
}
_CLOSED: Final = "Cannot operate on a closed database."
_OLD_SCHEMA: Final = ("lacks tables or columns that this version needs", "run `harvester migrate`")
# By SQLSTATE, or the class that it begins with.
_POSTGRES: Final = {
    "25006": (
        "is read-only: a standby, or by default_transaction_read_only",
        "name the primary in database.url, or reset that setting",
    ),
    "42501": ("denies this user a privilege", "grant it, or change the user in database.url"),
    "42P01": _OLD_SCHEMA,
    "42703": _OLD_SCHEMA,
    "53": ("is out of disk space, memory or connections", f"stored data is safe; free some, {_RERUN}"),
    "25P03": ("has ended this session, which was silent in a transaction", "rerun the same command"),
    "57014": ("did not finish a statement in time", f"find out what slows it down, {_RERUN}"),
    "57P05": ("has ended this session, which was silent for too long", "rerun the same command"),
    "55P03": ("is locked by another program", f"end that program, {_RERUN}"),
    "57P": ("is shutting down", f"start it again, {_RERUN}"),
    "40": ("rolled a transaction back in favour of another", "rerun the same command"),
}


@contextmanager
def translated(target: Target) -> Iterator[None]:
    """Translate the errors of sqlite3, psycopg and SQLAlchemy to StoreError, StoreLost and SchemaError."""
    try:
        yield
    except DBAPIError as error:
        cause = error.orig if error.orig is not None else error
        if error.connection_invalidated:
            raise StoreLost(f"{target}: {first_line(cause, target.redactor)}") from _cause(error, target)
        raise _store_error(target, cause) from _cause(error, target)
    except SQLAlchemyError as error:
        raise StoreError(f"{target}: {first_line(error, target.redactor)}") from _cause(error, target)
    except sqlite3.Error as error:
        raise _store_error(target, error) from _cause(error, target)
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "psycopg":
            raise
        raise _store_error(target, error) from _cause(error, target)


def _store_error(target: Target, cause: BaseException) -> StoreError:
    line = first_line(cause, target.redactor)
    if isinstance(cause, sqlite3.Error):
        if line == _CLOSED:
            return StoreLost(f"{target}: {line}")
        if line.startswith(("no such table", "no such column")):
            return SchemaError(_described(target, line, _OLD_SCHEMA))
        return StoreError(_described(target, line, _SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)))
    state = getattr(cause, "sqlstate", None) or ""
    known = next(filter(None, (_POSTGRES.get(state[:length]) for length in (5, 3, 2))), None)
    text = _described(target, line, known)
    if known is _OLD_SCHEMA:
        return SchemaError(text)
    return StoreLost(text) if state.startswith(("08", "25P03", "57P")) or _is_disconnect(cause) else StoreError(text)


def _described(target: Target, line: str, known: tuple[str, str] | None) -> str:
    if known is None:
        return f"{target}: {line}"
    what, advice = known
    return f"{target} {what} ({line}); {advice}"


def _is_disconnect(cause: BaseException) -> bool:
    # psycopg raises it without an SQLSTATE if the connection was cut and the server could not answer.
    return type(cause).__name__ == "OperationalError" and getattr(cause, "sqlstate", None) is None


def _cause(error: Exception, target: Target) -> Exception | None:
    """Return the error to chain: None if its text, which a traceback prints, repeats a secret."""
    return error if target.redactor.is_clean(str(error)) else None
