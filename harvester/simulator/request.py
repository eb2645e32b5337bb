"""A request and its answer as values; and what a request for data asks for, once its path has been judged."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from harvester.core.model import ALL
from harvester.core.period import Period
from harvester.simulator.faults import Ending, Fault
from harvester.simulator.world import Beyond, World

if TYPE_CHECKING:
    from harvester.simulator.options import Options

_BAD = 400
_YEARS = range(1970, 2200)  # a calendar of epoch seconds has its bounds
_DATE = re.compile(r"[0-9]{8}")
_PHONE = re.compile(r"[0-9]{7,15}")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Header names in lower case; the path with its /api, without host and query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, and how it travels. Content-Length or chunks follow from `ending`.

    `delay` seconds pass before the status line, `pace` seconds while the body comes; `sent` bytes of the body come
    before the connection goes, unless the ending is WHOLE.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    delay: float = 0.0
    pace: float = 0.0
    ending: Ending = Ending.WHOLE
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request on its way, with all of its luck: what becomes of it, and when.

    `key` is the path and how often it has been asked for. `inbound` seconds pass until it arrives and counts, and
    `outbound` seconds from then until its answer is there.
    """

    request: Request
    key: tuple[str, int]
    inbound: float = 0.0
    outbound: float = 0.0
    fault: Fault | None = None


class Refusal(Exception):
    """The server answers with a status other than 200."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(f"{status}: {message}")


class Query(NamedTuple):
    """A well-formed request for data."""

    resource: str
    first: date
    last: date
    period: Period
    phone: str


def parse_query(resource: str, parameters: list[str]) -> Query:
    """Read the path's parameters.

    Raises:
        Refusal: 400, with the name of the first one that is malformed.
    """
    start, end, period, phone = parameters
    first, last = _parse_date("start", start), _parse_date("end", end)
    if last < first:
        raise _invalid("end")
    if period not in frozenset(Period):
        raise _invalid("period")
    if phone != ALL and not _PHONE.fullmatch(phone):
        raise _invalid("phone")
    return Query(resource, first, last, Period(period), phone)


def judge(query: Query, world: World, options: Options, today: date) -> None:
    """Refuse what the account may not ask for.

    Raises:
        Refusal: with what is wrong.
    """
    if not world.serves(query.phone):
        raise _invalid("phone") if options.foreign_status == _BAD else Refusal(401, "Unauthorized.")
    if world.before is Beyond.REFUSED and world.first_day is not None and query.first < world.first_day:
        raise _invalid("start")
    if world.future is Beyond.REFUSED and query.last > today:
        raise _invalid("start" if query.first > today else "end")
    if options.today_refused and query.first <= today <= query.last:
        raise _invalid("end")
    if options.max_days is not None and (query.last - query.first).days >= options.max_days:
        raise Refusal(options.wide_status, options.wide_error if options.wide_status == _BAD else "Unknown error.")


def parse_basic(header: str | None) -> tuple[str, str] | None:
    """Login and password of an Authorization header, or None if there are none."""
    scheme, _, text = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        login, colon, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (login, password) if colon else None


def _parse_date(name: str, text: str) -> date:
    if not _DATE.fullmatch(text) or int(text[:4]) not in _YEARS:
        raise _invalid(name)
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        raise _invalid(name) from None


def _invalid(name: str) -> Refusal:
    return Refusal(_BAD, f"Invalid {name} parameter.")
