"""Reading of an SQLite file without disturbing its owner.

A reader in WAL mode needs the log and the shared-memory file beside the database, and SQLite creates them if they are
missing. They would belong to the reader, and another user's harvester could not write to them. So only the owner of the
file and root, whose files SQLite gives to the owner, may create them:

- If both files are there, any reader uses them as they are.
- If there is no log, or an empty one, no process writes, and the file alone contains everything. It is read without
  locks, and a writer that begins meanwhile is noticed by the file's time: then the reading has failed.
- If there is a log alone, its writer has died, and only the owner can recover it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Final, NamedTuple

from harvester.errors import StoreError

_SETTLED_SECONDS: Final = 0.05  # a file that was written before has another time when it is written again
_MAX_WAITS: Final = 20


class ReadingConnection(sqlite3.Connection):
    """Connection that may read a file without locks; `frozen` is then its state at the beginning."""

    frozen: FrozenFile | None = None


class FrozenFile:
    """A file that must not change while it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = _state(path)
        for _ in range(_MAX_WAITS):
            if abs(time.time() - self._state.modified / 1e9) >= _SETTLED_SECONDS:
                break
            time.sleep(_SETTLED_SECONDS)
            self._state = _state(path)

    def check(self) -> None:
        """Raise StoreError if the file was written since."""
        if _state(self._path) != self._state:
            raise StoreError(
                f"{self._path} was written while it was read without a lock, so what was read may be mixed; run the"
                " same command again"
            )


class _State(NamedTuple):
    inode: int
    size: int
    modified: int  # nanoseconds


def _state(path: Path) -> _State:
    try:
        status = path.stat()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    return _State(status.st_ino, status.st_size, status.st_mtime_ns)


def connect_read_only(path: Path, timeout: float) -> ReadingConnection:
    """Open a file for reading.

    Args:
        path: of an existing database, without links.
        timeout: seconds to wait for a lock of the file.

    Raises:
        StoreError: the file cannot be read as it is.
    """
    frozen = None
    uri = f"{path.as_uri()}?mode=ro"
    if not _may_create_files(path):
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and path.with_name(f"{path.name}-shm").exists():
            uri += "&readonly_shm=1"
        elif _has_content(log):
            raise StoreError(
                f"{path} was not closed properly, and only its owner may recover it; run `harvester status` as that"
                " user, then the same command again"
            )
        else:
            uri += "&immutable=1"
            frozen = FrozenFile(path)
    connection = sqlite3.connect(
        uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False, factory=ReadingConnection
    )
    connection.frozen = frozen
    return connection


def _may_create_files(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and os.geteuid() in {0, path.stat().st_uid}


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
