"""Standard streams that may be closed or full.

A closed descriptor would be given to the next file that is opened, such as the database. Without stdout a result is
lost, so the command ends in an error; without stderr only messages are lost, so the work goes on.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from harvester.errors import UsageError

_STDIN, _STDOUT, _STDERR = range(3)


class _Stream(io.RawIOBase):
    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - a buffer; Python 3.11 has no type for it
        return os.write(self._number, data)


class _Results(_Stream):
    """Stdout whose errors are plain lines; a reader that has gone stays a BrokenPipeError."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - a buffer; Python 3.11 has no type for it
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            # What is still in the buffers must not raise again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._number)
            raise UsageError(f"stdout cannot be written: {error.strerror}") from None


class _Messages(_Stream):
    """Stderr whose errors are ignored."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - a buffer; Python 3.11 has no type for it
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def secure() -> None:
    """Open closed standard streams, and replace `sys.stdout` and `sys.stderr`."""
    for number, mode in ((_STDIN, os.O_RDONLY), (_STDOUT, os.O_RDONLY), (_STDERR, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest free number is this one
    sys.stdout = _text(_Results(_STDOUT), sys.stdout, "strict")
    sys.stderr = _text(_Messages(_STDERR), sys.stderr, "backslashreplace")


def _text(raw: _Stream, replaced: TextIO | None, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=replaced.encoding if replaced is not None else "utf-8",
        errors=(replaced.errors if replaced is not None else None) or errors,
        line_buffering=errors == "backslashreplace" or raw.isatty(),
    )
