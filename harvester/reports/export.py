r"""Export of a wide view as CSV or JSON lines, to stdout or atomically to a file.

CSV follows RFC 4180, in UTF-8 and with a header, but its lines end in "\n": spreadsheets and pandas read both ends, and
grep, cut and awk only this one. NULL is an empty cell. Text that a spreadsheet would run as a formula is prefixed with
an apostrophe. A whole number has no ".0" in either format.
"""

from __future__ import annotations

import csv
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

from harvester.core.period import Calendar, Period
from harvester.links import resolve_own
from harvester.reports.filters import refuse_unknown, stored_phones
from harvester.store.reader import Reader, Rows
from harvester.store.types import AccountIdentity

Range = tuple[date | None, date | None]

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # of a cell that a spreadsheet runs
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_MIN_EXPONENT = 1e16  # below it Python writes a whole float with ".0", from it on with an exponent
_CRLF = "\r\n"  # the csv writer quotes cells that hold a character of its line terminator
_NEW_FILE_MODE = 0o666  # less the umask
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/std(?:out|err)|(?:/dev|/proc/self)/fd/(?P<number>[0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Selection of the rows to export."""

    resource: str
    periods: Sequence[Period]
    days: Callable[[date], Range]  # first and last day (None: no limit), given the account's today
    accounts: Sequence[str] = ()
    phones: Sequence[str] = ()
    incomplete: bool = False


def select(
    reader: Reader,
    request: ExportRequest,
    now: float,
    *,
    known_accounts: Collection[str] = (),
    known_phones: Collection[str] = (),
) -> tuple[tuple[str, ...], Generator[tuple[Any, ...]]]:
    """Return the columns, and a generator of the rows in the order of account, period, phone and time.

    Days are counted in each account's own zone. The period that contains the first day is exported whole, as a backfill
    from that day fetches it.

    Args:
        reader: stays open until the last row.
        request: the selection.
        now: epoch seconds.
        known_accounts: names that are valid although nothing of them may be stored.
        known_phones: numbers that are valid although nothing of them may be stored.

    Raises:
        UsageError: an account or a phone is not known.
    """
    stored = reader.accounts()
    refuse_unknown("account", request.accounts, {*known_accounts, *(status.identity.name for status in stored)})
    refuse_unknown("phone", request.phones, {*known_phones, *stored_phones(stored)})
    chosen = [status.identity for status in stored if not request.accounts or status.identity.name in request.accounts]
    columns = _query(reader, request, Period.DAY, [], (None, None)).columns

    def rows() -> Generator[tuple[Any, ...]]:
        for identity in chosen:
            for period in request.periods:
                yield from _query(reader, request, period, [identity.name], _range(request, identity, period, now)).rows

    return columns, rows()


def _range(request: ExportRequest, identity: AccountIdentity, period: Period, now: float) -> Range:
    calendar = Calendar(ZoneInfo(identity.timezone), identity.week_start)
    first, last = request.days(calendar.local_date(now))
    return calendar.floor(period, first) if first is not None else None, last


def _query(reader: Reader, request: ExportRequest, period: Period, accounts: Sequence[str], days: Range) -> Rows:
    return reader.export(
        request.resource,
        period=period,
        first=days[0],
        last=days[1],
        accounts=accounts,
        phones=request.phones or None,
        complete_only=not request.incomplete,
    )


def render(kind: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Generator[str]:
    """Yield the lines of the export as "csv" or "jsonl", each with its line end; the first one of CSV is the header."""
    if kind == "jsonl":
        for row in rows:
            yield json.dumps({name: _number(cell) for name, cell in zip(columns, row, strict=True)}, **_JSON) + "\n"
        return
    writer = csv.writer(_Line(), lineterminator=_CRLF)
    yield writer.writerow(columns)
    for row in rows:
        yield writer.writerow([_cell(cell) for cell in row])


_JSON: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":")}


class _Line:
    """File that returns each line through `writerow`."""

    def write(self, line: str) -> str:
        return line.removesuffix(_CRLF) + "\n"


def _number(cell: object) -> object:
    if isinstance(cell, float) and abs(cell) < _MIN_EXPONENT and cell.is_integer():
        return int(cell)
    return cell


def _cell(cell: object) -> object:
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(_FORMULA_STARTS) and not _PLAIN_NUMBER.fullmatch(cell) else cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return _number(cell)


def write(lines: Iterable[str], out: BinaryIO) -> int:
    """Write the lines as UTF-8 and return their number."""
    count = 0
    for line in lines:
        out.write(line.encode())
        count += 1
    out.flush()
    return count


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` at the end of the block, unless the block raises.

    A link of this user or of root is followed. An existing file keeps its mode, a new one gets the umask's. A pipe, a
    device or one of this process's descriptors (/dev/stdout, /dev/fd/63) is written directly.

    Raises:
        ForeignLink: the path leads through a link of another user.
        OSError: the file cannot be written.
    """
    if descriptor := _DESCRIPTOR.fullmatch(os.path.normpath(path)):
        number = _STANDARD.get(descriptor[0]) or int(descriptor["number"])
        with os.fdopen(os.dup(number), "wb") as out:  # opening its name fails for a socket, and truncates a file
            yield out
        return
    target = resolve_own(path)
    found = target.stat() if target.exists() else None
    if found is not None and not stat.S_ISREG(found.st_mode):
        with target.open("wb") as out:
            yield out
        return
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        # Inside the block, because a signal may raise as soon as the file exists.
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _NEW_FILE_MODE)
        with os.fdopen(number, "wb") as out:
            if found is not None:
                os.fchmod(out.fileno(), stat.S_IMODE(found.st_mode))
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
