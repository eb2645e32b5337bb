"""The locks that give each account one holder: they end with its process, so nothing has to be cleaned up.

An account has two: one by its name, which protects its rows, and one by the key of its quota, because two
configurations may give one login two names (core/spender.py).

SQLite: locked files beside the database. A file that is removed does not take its lock with it, but the next process
creates and locks another one, so a lock counts only while its file is in place. PostgreSQL: advisory locks of the
connection that also commits the account's values, so a process that can write them has the locks. The column
`account.holder` is only for people to read.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from sqlalchemy import text

from harvester.database.connection import StoreConnection
from harvester.database.dsn import SqliteTarget
from harvester.database.file_watch import FileId, file_id
from harvester.errors import ClaimLost, StoreError


def holder_name() -> str:
    """Return the description of this process that other processes report as the holder."""
    return f"pid {os.getpid()} on {socket.gethostname()}"


def advisory_key(schema: str, account: str | None) -> int:
    """Return the key of the PostgreSQL advisory lock of an account, or with None of the schema itself."""
    name = f"harvester\0{schema}\0{account if account is not None else ''}\0{account is None}"
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


class AccountLock(Protocol):
    """The locks of an account, held."""

    def check(self) -> None:
        """Raise ClaimLost if another process can have taken one of them."""
        ...

    def release(self) -> None:
        """Release them.

        Raises:
            StoreLost: the connection was lost, and with it the locks.
        """
        ...


def try_lock(store_connection: StoreConnection, account: str, quota_key: str) -> AccountLock | None:
    """Take the account's locks, without waiting.

    Returns:
        None if another process holds one of them.

    Raises:
        StoreError: a lock can be neither taken nor found held.
    """
    target = store_connection.target
    if isinstance(target, SqliteTarget):
        return _try_files(target, account, quota_key)
    # A colon is in no account's name, so that no name is also the key of a quota.
    keys = [advisory_key(target.schema, account), advisory_key(target.schema, f"quota:{quota_key}")]
    lock = _AdvisoryLocks(store_connection, keys)
    return lock if lock.take() else None


class _AdvisoryLocks:
    """Advisory locks of PostgreSQL; they live and end with the connection, so they need no check."""

    def __init__(self, store_connection: StoreConnection, keys: list[int]) -> None:
        self._store_connection = store_connection
        self._keys = keys

    def take(self) -> bool:
        """Take all locks, or none."""
        with self._store_connection.transaction() as connection:
            for number, key in enumerate(self._keys):
                if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}):
                    for taken in self._keys[:number]:
                        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": taken})
                    return False
        return True

    def check(self) -> None:
        """See AccountLock."""

    def release(self) -> None:
        """See AccountLock."""
        with self._store_connection.transaction() as connection:
            for key in self._keys:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})


def _try_files(target: SqliteTarget, account: str, quota_key: str) -> _LockedFiles | None:
    names = [account, quota_key.replace(" ", "-")]
    with ExitStack() as stack:
        files = {}
        for name in names:
            path = target.path.with_name(f"{target.path.name}.{name}.lock")
            if (lock := _try_file(path, target.path)) is None:
                return None
            stack.callback(lock.release)
            files[path] = file_id(path)
        return _LockedFiles(files, stack.pop_all())


def _try_file(path: Path, database: Path) -> FileLock | None:
    # Any thread may release it. On a disk without locks it fails: a soft lock would outlive its holder.
    lock = FileLock(path, timeout=0, mode=0o600, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
        path.chmod(0o600)  # an earlier version let every user of the host open it, and lock it
        if os.geteuid() == 0:  # SQLite gives root's files to the owner of the database, too
            owner = database.stat()
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    except Timeout:
        return None
    except OSError as error:
        lock.release()
        advice = "give this user permission to write to the directory of the database"
        if isinstance(error, PermissionError) and os.path.lexists(path):
            advice = "it belongs to another user; give it to the user of the harvester with chown"
        raise StoreError(f"{path}: {error.strerror}; {advice}") from error
    return lock


class _LockedFiles:
    """Locked files beside an SQLite database."""

    def __init__(self, files: Mapping[Path, FileId | None], stack: ExitStack) -> None:
        self._files = files
        self._stack = stack

    def check(self) -> None:
        """See AccountLock."""
        for path, locked in self._files.items():
            if locked is None or file_id(path) != locked:
                raise ClaimLost(
                    f"{path} was removed while it was locked; do not delete the lock files beside a database"
                )

    def release(self) -> None:
        """See AccountLock."""
        self._stack.close()
