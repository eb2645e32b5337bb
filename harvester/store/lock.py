"""One spender per account: a lock that dies with its holder, and needs nobody to clean up.

SQLite: a locked file beside the database. PostgreSQL: an advisory lock of the session that also commits the
account's values, so that whoever may write holds it. What stands in `account.holder` is for people to read only.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from sqlalchemy import text

from harvester.errors import StoreError
from harvester.store.dsn import SqliteTarget

if TYPE_CHECKING:
    from harvester.store.connection import StoreConnection


def holder_name() -> str:
    """Who this process is, for others to read."""
    return f"pid {os.getpid()} on {socket.gethostname()}"


def advisory_key(schema: str, account: str | None) -> int:
    """A PostgreSQL advisory lock's number for an account, or with None for the schema itself."""
    name = f"harvester\0{schema}\0{account if account is not None else ''}\0{account is None}"
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def try_lock(session: StoreConnection, account: str) -> Callable[[], None] | None:
    """Take the account's lock if nobody holds it.

    Returns:
        What gives it back, or None: another process holds it.

    Raises:
        StoreError: it cannot even be tried.
    """
    target = session.target
    if isinstance(target, SqliteTarget):
        return _try_file(target, account)
    key = {"key": advisory_key(target.schema, account)}
    with session.transaction() as connection:
        taken = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key)

    def release() -> None:
        with session.transaction() as connection:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)

    return release if taken else None


def _try_file(target: SqliteTarget, account: str) -> Callable[[], None] | None:
    path = target.path.with_name(f"{target.path.name}.{account}.lock")
    # Released by whatever thread; where the disk knows no locks, better none than one that outlives its holder.
    lock = FileLock(path, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; this user must be able to write beside the database") from error
    return lock.release
