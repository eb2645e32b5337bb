r"""Rows of a wide view as lines of CSV or JSON, and a file that is whole or not there.

CSV is RFC 4180's, in UTF-8 and with a header, but its lines end in "\n": spreadsheets and pandas take both, and
grep, cut and awk only this. NULL is an empty cell. Text that a spreadsheet would run as a formula gets an
apostrophe in front. A whole number has no ".0" in either format.
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
from typing import TYPE_CHECKING, Any, BinaryIO
from zoneinfo import ZoneInfo

from harvester.core.period import Calendar, Period
from harvester.reports.filters import refuse_unknown, stored_phones

if TYPE_CHECKING:
    from harvester.store.reader import Reader, Rows
    from harvester.store.types import AccountIdentity

Range = tuple[date | None, date | None]

FORMATS = ("csv", "jsonl")
_RUN = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is a formula to a spreadsheet
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_EXACT = 1e16  # below it Python writes a whole float with ".0", from it on with an exponent
_CRLF = "\r\n"  # whatever ends the writer's lines it quotes where a cell holds it
_ANYBODY = 0o666  # less the umask


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be exported. `days` gives the first and last day for an account's today; None is no limit."""

    resource: str
    periods: Sequence[Period]
    days: Callable[[date], Range]
    accounts: Sequence[str] = ()
    phones: Sequence[str] = ()
    incomplete: bool = False


def select(
    reader: Reader,
    request: Request,
    now: float,
    *,
    known_accounts: Collection[str] = (),
    known_phones: Collection[str] = (),
) -> tuple[tuple[str, ...], Generator[tuple[Any, ...]]]:
    """The columns and, while they come, the rows: by account, period, phone and time.

    Days are counted in each account's own zone, and the period that holds the first day is exported whole, as a
    backfill from that day would have fetched it.

    Args:
        reader: to be left open until the last row.
        request: what is wanted.
        now: epoch seconds.
        known_accounts: to be taken for known though nothing of them is stored.
        known_phones: the same.

    Raises:
        UsageError: an account or a phone is not known.
    """
    stored = reader.accounts()
    refuse_unknown("account", request.accounts, {*known_accounts, *(status.identity.name for status in stored)})
    refuse_unknown("phone", request.phones, {*known_phones, *stored_phones(stored)})
    chosen = [status.identity for status in stored if not request.accounts or status.identity.name in request.accounts]
    columns = _ask(reader, request, Period.DAY, [], (None, None)).columns

    def rows() -> Generator[tuple[Any, ...]]:
        for identity in chosen:
            for period in request.periods:
                yield from _ask(reader, request, period, [identity.name], _range(request, identity, period, now)).rows

    return columns, rows()


def _range(request: Request, identity: AccountIdentity, period: Period, now: float) -> Range:
    calendar = Calendar(ZoneInfo(identity.timezone), identity.week_start)
    first, last = request.days(calendar.local_date(now))
    return calendar.floor(period, first) if first is not None else None, last


def _ask(reader: Reader, request: Request, period: Period, accounts: Sequence[str], days: Range) -> Rows:
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
    """The lines of the export in one of FORMATS, each with its end; CSV's first is the header."""
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
    """A sink that hands each line back through `writerow`."""

    def write(self, line: str) -> str:
        return line.removesuffix(_CRLF) + "\n"


def _number(cell: object) -> object:
    if isinstance(cell, float) and abs(cell) < _EXACT and cell.is_integer():
        return int(cell)
    return cell


def _cell(cell: object) -> object:
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(_RUN) and not _PLAIN_NUMBER.fullmatch(cell) else cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return _number(cell)


def write(lines: Iterable[str], out: BinaryIO) -> int:
    """Write the lines as UTF-8; returns how many."""
    count = 0
    for line in lines:
        out.write(line.encode())
        count += 1
    out.flush()
    return count


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` at the end of the block, unless the block raises.

    A link is followed, a file that was there keeps its mode, a new one has the umask's. What is no file (a pipe, a
    device) is written as it is.

    Raises:
        OSError: it cannot be written.
    """
    target = path.resolve()
    found = target.stat() if target.exists() else None
    if found is not None and not stat.S_ISREG(found.st_mode):
        with target.open("wb") as out:
            yield out
        return
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _ANYBODY)
    try:
        with os.fdopen(descriptor, "wb") as out:
            if found is not None:
                os.fchmod(out.fileno(), stat.S_IMODE(found.st_mode))
            yield out
            out.flush()
            os.fsync(out.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
