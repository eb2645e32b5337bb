"""Foreign errors made ours, at the store's border: one plain line each that says what to do."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from harvester.errors import SchemaError, StoreError, StoreLost
from harvester.store.dsn import BUSY_TIMEOUT, Target

_BUSY: Final = f"is locked by another program since {BUSY_TIMEOUT:.0f} s; end that program, then run this again"
_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_READONLY: "is read-only here; let this user write to the file and to its directory",
    sqlite3.SQLITE_PERM: "may not be used by this user",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full; make room, then run this again",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; let this user write to it and its directory (is the disk read-only?)",
    sqlite3.SQLITE_CORRUPT: "is damaged; nothing was changed. Restore a backup, or name another file",
    sqlite3.SQLITE_NOTADB: "is no SQLite database; name another file in database.url",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error, or is full",
}
_CLOSED: Final = "Cannot operate on a closed database."
_MIGRATE: Final = "lacks tables or columns; run `harvester migrate`"
_POSTGRES: Final = {  # by SQLSTATE, or its class
    "25006": "is read-only, perhaps a standby; name the primary in database.url",
    "42501": "denies this user a right",
    "42P01": _MIGRATE,
    "42703": _MIGRATE,
    "53": "lacks room or connections",
    "55P03": "is locked by another program",
    "57P": "is being shut down",
    "40": "gave way to another transaction; run this again",
}


@contextmanager
def translated(target: Target) -> Iterator[None]:
    """Turn what sqlite3, psycopg and SQLAlchemy raise into StoreError, StoreLost or SchemaError."""
    try:
        yield
    except DBAPIError as error:
        cause = error.orig if error.orig is not None else error
        if error.connection_invalidated:
            raise StoreLost(f"{target}: {_line(cause, target)}") from _cause(error, target)
        raise _verdict(target, cause) from _cause(error, target)
    except SQLAlchemyError as error:
        raise StoreError(f"{target}: {_line(error, target)}") from _cause(error, target)
    except sqlite3.Error as error:
        raise _verdict(target, error) from _cause(error, target)
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "psycopg":
            raise
        raise _verdict(target, error) from _cause(error, target)


def _verdict(target: Target, cause: BaseException) -> StoreError:
    line = _line(cause, target)
    if isinstance(cause, sqlite3.Error):
        if line == _CLOSED:
            return StoreLost(f"{target}: {line}")
        code = getattr(cause, "sqlite_errorcode", None)
        if line.startswith(("no such table", "no such column")):
            return SchemaError(f"{target} {_MIGRATE} ({line})")
        known = _SQLITE.get(code & 0xFF) if code is not None else None
        return StoreError(f"{target} {known} ({line})" if known else f"{target}: {line}")
    state = getattr(cause, "sqlstate", None) or ""
    known = next(filter(None, (_POSTGRES.get(state[:length]) for length in (5, 3, 2))), None)
    text = f"{target} {known} ({line})" if known else f"{target}: {line}"
    if known is _MIGRATE:
        return SchemaError(text)
    return StoreLost(text) if state.startswith(("08", "57P")) or _is_cut(cause) else StoreError(text)


def _is_cut(cause: BaseException) -> bool:
    return type(cause).__name__ == "OperationalError" and getattr(cause, "sqlstate", None) is None


def _cause(error: Exception, target: Target) -> Exception | None:
    """Return the error to chain: None if its text, which a traceback prints, repeats a secret."""
    return error if target.redactor.is_clean(str(error)) else None


def _line(cause: BaseException, target: Target) -> str:
    line = target.redactor.redact(str(cause).strip() or type(cause).__name__).splitlines()[0]
    return re.sub(r"\s+", " ", line)
