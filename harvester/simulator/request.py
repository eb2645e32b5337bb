"""Requests and replies as values, and the parser of a data request's path."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from harvester.core.model import ALL
from harvester.core.period import Period
from harvester.simulator.faults import Ending, Fault
from harvester.simulator.options import Options
from harvester.simulator.world import Beyond, World

_BAD_REQUEST = 400
_YEARS = range(1970, 2200)  # that the calendar of epoch seconds supports
_DATE = re.compile(r"[0-9]{8}")
_PHONE = re.compile(r"[0-9]{7,15}")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request: header names in lower case; the path with /api, without host and query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, and how it is sent; `ending` decides between Content-Length and chunks.

    The status line is sent after `delay` seconds, and the body takes `pace` seconds. The connection closes after `sent`
    bytes of the body, unless the ending is WHOLE.
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
    """A request in flight, with everything that is drawn for it: its fault and its delays.

    `key` is the path and how often it was requested before. The request arrives and counts after `inbound` seconds; its
    answer arrives `outbound` seconds later.
    """

    request: Request
    key: tuple[str, int]
    inbound: float = 0.0
    outbound: float = 0.0
    fault: Fault | None = None


class ApiError(Exception):
    """An answer of the API with a status other than 200."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(f"{status}: {message}")


class Query(NamedTuple):
    """Parameters of a well-formed data request."""

    resource: str
    first: date
    last: date
    period: Period
    phone: str


def parse_query(resource: str, parameters: list[str]) -> Query:
    """Parse the parameters of a path.

    Raises:
        ApiError: 400, with the name of the first malformed parameter.
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


def check_query(query: Query, world: World, options: Options, today: date) -> None:
    """Check that the account may request this.

    Raises:
        ApiError: it may not.
    """
    if not world.serves(query.phone):
        raise _invalid("phone") if options.foreign_status == _BAD_REQUEST else ApiError(401, "Unauthorized.")
    if world.before is Beyond.REFUSED and world.first_day is not None and query.first < world.first_day:
        raise _invalid("start")
    if world.future is Beyond.REFUSED and query.last > today:
        raise _invalid("start" if query.first > today else "end")
    if options.served_until is not None and (today - query.last).days < options.served_until:
        raise ApiError(_BAD_REQUEST, options.end_error)
    if options.today_refused and query.first <= today <= query.last:
        raise _invalid("end")
    if options.wide_fault is None and is_too_wide(query, options):
        raise ApiError(
            options.wide_status, options.wide_error if options.wide_status == _BAD_REQUEST else "Unknown error."
        )


def is_too_wide(query: Query, options: Options) -> bool:
    """Return True if the range is wider than `max_days`."""
    return options.max_days is not None and (query.last - query.first).days >= options.max_days


def parse_basic(header: str | None) -> tuple[str, str] | None:
    """Return login and password of a Basic Authorization header; None if it has none."""
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


def _invalid(name: str) -> ApiError:
    return ApiError(_BAD_REQUEST, f"Invalid {name} parameter.")
