"""Check that an SQLite file is still the one that was opened: SQLite itself does not notice.

It would go on in a file that was removed, and read from its cache what a truncated file has lost.

The header is read by a descriptor that stays open as long as the connection: POSIX drops all locks of a process on a
file, SQLite's too, when the process closes any descriptor of it. Another process could then take the write-ahead log
away under the connection.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from harvester.errors import StoreError

FileId = tuple[int, int]  # device and inode

_HEADER_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_LARGEST_PAGE: Final = 65_536  # the header says 1 for it


def file_id(path: Path) -> FileId | None:
    """Return device and inode of the file at this path; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class FileWatch:
    """Identity and size of an SQLite file that is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._id = file_id(path)
        self._size = 0  # when it was checked last
        self._descriptor: int | None = None

    def open(self) -> None:
        """Open the descriptor for the header; close it after the connection."""
        with suppress(OSError):  # then a smaller file counts as truncated
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the descriptor. The connection must be closed already."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def check(self) -> None:
        """Compare the file with the one that was opened.

        Raises:
            StoreError: it was removed, replaced or truncated.
        """
        try:
            status = self._path.stat()
        except OSError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != self._id:
            raise StoreError(
                f"{self._path} was removed or replaced while it was in use, so what this process stored may be lost;"
                " rerun the same command to fetch what is missing"
            )
        if status.st_size < self._size and not self._is_whole(status.st_size):
            raise StoreError(
                f"{self._path} was truncated while it was in use, so stored data is lost; restore a backup, or remove"
                " the file and rerun the same command to fetch everything again"
            )
        self._size = status.st_size

    def _is_whole(self, size: int) -> bool:
        """Return True if a file of this size holds all pages that its header counts, as after VACUUM."""
        if self._descriptor is None:
            return False
        try:
            header = os.pread(self._descriptor, _HEADER_BYTES, 0)
        except OSError:
            return False
        if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
            return False
        page = int.from_bytes(header[16:18], "big")
        pages = int.from_bytes(header[28:32], "big")
        return size >= pages * (_LARGEST_PAGE if page == 1 else page)
