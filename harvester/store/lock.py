"""The lock that gives each account one holder: it ends with its process, so nothing has to be cleaned up.

SQLite: a locked file beside the database. PostgreSQL: an advisory lock of the connection that also commits the
account's values, so a process that can write them has the lock. The column `account.holder` is only for people to read.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from hashlib import blake2b

from filelock import FileLock, Timeout
from sqlalchemy import text

from harvester.errors import StoreError
from harvester.store.connection import StoreConnection
from harvester.store.dsn import SqliteTarget


def holder_name() -> str:
    """Return the description of this process that other processes report as the holder."""
    return f"pid {os.getpid()} on {socket.gethostname()}"


def advisory_key(schema: str, account: str | None) -> int:
    """Return the key of the PostgreSQL advisory lock of an account, or with None of the schema itself."""
    name = f"harvester\0{schema}\0{account if account is not None else ''}\0{account is None}"
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def try_lock(store_connection: StoreConnection, account: str) -> Callable[[], None] | None:
    """Take the account's lock, without waiting.

    Returns:
        The function that releases it; None if another process holds it.

    Raises:
        StoreError: the lock can be neither taken nor found held.
    """
    target = store_connection.target
    if isinstance(target, SqliteTarget):
        return _try_file(target, account)
    key = {"key": advisory_key(target.schema, account)}
    with store_connection.transaction() as connection:
        taken = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key)

    def release() -> None:
        with store_connection.transaction() as connection:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)

    return release if taken else None


def _try_file(target: SqliteTarget, account: str) -> Callable[[], None] | None:
    path = target.path.with_name(f"{target.path.name}.{account}.lock")
    # Any thread may release it. On a disk without locks it fails: a soft lock would outlive its holder.
    lock = FileLock(path, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}; give this user permission to write to the directory of the database"
        ) from error
    return lock.release
