"""What a status and a body mean: the one table from HTTP to our errors, for data requests.

| status | means |
|---|---|
| 200 | a page; HTML or plain text is somebody else's. `{"error"}` is a refusal if it names a parameter of the request, for then only its status got lost; else it is a server in trouble, tried again |
| 400 | the slice is refused, whatever the body: it is the documented status for that |
| 401 | the credentials or the phone |
| 403 | in the API's own words the same question as 401 (which status a number that is not ours gets is documented nowhere); else some proxy's |
| 429 | throttled |
| 408, 425, 5xx | the server is in trouble |
| other 4xx | in the API's own words a refusal; else some proxy's, or a wrong base URL: to fail slice after slice on that would only spend quota |
| the rest | redirects and what no API sends: somebody else answered |
"""  # noqa: E501 - a table's row is a line

from __future__ import annotations

import re
from collections.abc import Mapping

from harvester.core.model import InvalidValue, Raw
from harvester.core.payload import MAX_TEXT_LENGTH, Entries, escape_text, is_document, is_html, parse_error
from harvester.errors import (
    Outage,
    PayloadError,
    SliceRejected,
    SourceError,
    SourceUnavailable,
    Throttled,
    Unauthorized,
)
from harvester.redaction import MASK, Redactor

OK = 200
BAD_REQUEST = 400
UNAUTHORIZED = 401
FORBIDDEN = 403
TOO_MANY = 429

MAX_REDACTED_TEXTS = 1500  # texts of one answer; of its rejects the first 1000 are stored one by one
_QUOTED_LENGTH = 20  # characters quoted of a body that is no document
_TRY_LATER = frozenset({408, 425})
_FOR_PROXIES = frozenset({407, 421})
_CLIENT = range(400, 500)
_SERVER = range(500, 600)
_WIDTH = re.compile(
    r"(?<![a-z])(range|days?|wide|width|long|longer|large|larger|limit\w*|span|max\w*)(?![a-z])", re.IGNORECASE
)
_NAMES = re.compile(r"(?<![a-z])(start|end|period|phone)(?![a-z])", re.IGNORECASE)


def refusal(status: int, body: bytes, *, phone: str, generation: int, redactor: Redactor) -> SourceError | None:
    """Return the error that an answer to a data request amounts to; None for a 200 that may be a page.

    Args:
        status: of the response.
        body: decoded; empty if it could not be read.
        phone: the number that was asked for.
        generation: the credential pair's.
        redactor: masks secrets in what the server wrote.
    """
    written = parse_error(body) if status != OK or b"error" in body[:256] else None
    text = None if written is None else quoted(written, redactor)
    about = named((written or "")[:MAX_TEXT_LENGTH], phone)
    says = f"{status}: {text}" if text else str(status)
    if status == OK:
        return _error_of_ok(body, text, about, redactor)
    if status == UNAUTHORIZED or (status == FORBIDDEN and text is not None):
        return Unauthorized(says, generation=generation)
    if status == BAD_REQUEST:
        return SliceRejected(says, named=about)
    if (outage := not_the_slice(status, body, text)) is not None:
        return outage
    return SliceRejected(says, named=about)


def not_the_slice(status: int, body: bytes, text: str | None) -> SourceError | None:
    """The error where the server, the quota or a proxy is to blame; None for a refusal in the API's own words."""
    if status == TOO_MANY:
        return Throttled("429")
    if status in _SERVER or status in _TRY_LATER:
        return SourceUnavailable(f"{status}: {text}" if text else str(status), outage=Outage.SERVER, status=status)
    if text is None or status not in _CLIENT or status in _FOR_PROXIES:
        kind = "a web page" if is_html(body) else "not in the API's words"
        return SourceUnavailable(f"{status}, {kind}", outage=Outage.NOT_API, status=status)
    return None


def quoted(text: str, redactor: Redactor) -> str:
    """Return foreign text fit for a message: without secrets, then cut and escaped."""
    return escape_text(redactor.redact(text))


def named(text: str, phone: str) -> frozenset[str]:
    """Which of the request's parameters a refusal speaks of; the phone is not to blame for a range that is too wide."""
    found = {match.lower() for match in _NAMES.findall(text)}
    if re.search(rf"(?<!\w){re.escape(phone)}(?!\w)", text):
        found.add("phone")
    return frozenset(found - {"phone"} if _WIDTH.search(text) else found)


def redacted(metrics: Mapping[str, Entries], known: frozenset[str], redactor: Redactor) -> dict[str, Entries]:
    """Return an answer's metrics without secrets: they may stand in the place of a name, a timestamp or a number.

    Numbers, timestamps and the names of known metrics pass as they are: a password of digits is no reason to change a
    figure. Beyond MAX_REDACTED_TEXTS texts the others are masked unread, because that many are no answer.

    Args:
        metrics: as parsed.
        known: the names of the metrics that the resource is known to have.
        redactor: masks secrets.
    """
    room = MAX_REDACTED_TEXTS

    def redact(text: str) -> str:
        nonlocal room
        room -= 1
        return redactor.redact(text) if room >= 0 else MASK

    def entry(timestamp: str, raw: Raw) -> tuple[str, Raw]:
        if isinstance(raw, InvalidValue):
            raw = raw._replace(text=redact(raw.text))
        return timestamp if timestamp.isdigit() else redact(timestamp), raw

    found: dict[str, Entries] = {}
    for name, entries in metrics.items():
        safe = name if name in known else redact(name)
        if not _is_numeric(entries):
            entries = [entry(timestamp, raw) for timestamp, raw in entries]  # noqa: PLW2901 - the original is done with
        found[safe] = [*found[safe], *entries] if safe in found else entries
    return found


def _is_numeric(entries: Entries) -> bool:
    """Return True if nothing but digits and numbers is in them: the ordinary case, at a glance."""
    return "".join([timestamp for timestamp, _ in entries]).isdigit() and InvalidValue not in {
        type(raw) for _, raw in entries
    }


def _error_of_ok(body: bytes, text: str | None, about: frozenset[str], redactor: Redactor) -> SourceError | None:
    if text is not None:
        return SliceRejected(f"200, but {text}", named=about) if about else PayloadError(f"200, but {text}")
    if body.strip() and not is_document(body):
        kind = "a web page" if is_html(body) else f"begins with {_beginning(body, redactor)!r}"
        return SourceUnavailable(f"200, {kind}", outage=Outage.NOT_API, status=OK)
    return None


def _beginning(body: bytes, redactor: Redactor) -> str:
    """Return the first characters of a body that is no document."""
    try:
        text = body.decode()
    except UnicodeDecodeError:  # another encoding, or cut within a character
        text = body.decode("latin-1").replace("\0", "")
    return escape_text(redactor.redact(text)[:_QUOTED_LENGTH])
