"""Table from HTTP status and body to the errors of the harvester, for data requests.

| status | meaning |
|---|---|
| 200 | a page. HTML or plain text comes from some other server. `{"error"}` is a refusal if it names a parameter of the request: only its status was lost. Otherwise the server has a problem, and the request is repeated |
| 400 | the slice is refused, whatever the body: it is the documented status for that |
| 401 | the credentials or the phone |
| 403 | with an error text of the API: throttled if it has a Retry-After, otherwise the same as 401 (no document says which status a foreign number gets). Without an error text a proxy's |
| 429 | throttled |
| 408, 425, 5xx | the server has a problem |
| other 4xx | with an error text of the API a refusal; otherwise a proxy's answer or a wrong base URL. To fail slice after slice on these would only spend quota |
| others | redirects and what no API sends: some other server answered |
"""  # noqa: E501 - a table's row is a line

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import urlsplit, urlunsplit

from harvester.core.model import InvalidValue, Raw
from harvester.errors import (
    Outage,
    PayloadError,
    SliceRejected,
    SourceError,
    SourceUnavailable,
    Throttled,
    Transient,
    Unauthorized,
)
from harvester.parsing.payload import (
    MAX_TEXT_LENGTH,
    Entries,
    escape_text,
    is_document,
    is_html,
    join_maps,
    parse_error,
)
from harvester.redaction import MASK, Redactor

MAX_REDACTED_TEXTS = 1500  # different ones, of one answer; of its rejects the first 1000 are stored one by one
_BEGINNING_LENGTH = 20  # characters quoted of a body that is no document
_SERVER_PROBLEMS = frozenset({408, 425})
_PROXY_STATUSES = frozenset({407, 421})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_CLIENT_ERRORS = range(400, 500)
_SERVER_ERRORS = range(500, 600)
_RANGE_WORDS = re.compile(
    r"(?<![a-z])(range|days?|wide|width|long|longer|large|larger|limit\w*|span|max\w*)(?![a-z])", re.IGNORECASE
)
_PARAMETER_WORDS = re.compile(r"(?<![a-z])(start|end|period|phone)(?![a-z])", re.IGNORECASE)


def error_of(
    status: int,
    body: bytes,
    *,
    phone: str,
    generation: int,
    redactor: Redactor,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> SourceError | None:
    """Return the error that an answer to a data request means; None for a 200 that may be a page.

    Args:
        status: of the response.
        headers: of the response, names in lower case.
        body: decoded; empty if it was unreadable.
        phone: the number of the request.
        generation: of the credential pair of the request.
        redactor: masks secrets in the text of the server.
    """
    written = parse_error(body) if status != HTTPStatus.OK or b"error" in body[:256] else None
    text = None if written is None else quote_text(written, redactor)
    named = named_parameters((written or "")[:MAX_TEXT_LENGTH], phone)
    detail = f"{status}: {text}" if text else str(status)
    if status == HTTPStatus.OK:
        return _error_of_ok(body, text, named, redactor)
    if status == HTTPStatus.FORBIDDEN and text is not None and "retry-after" in headers:
        return Throttled(str(status))
    if status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.FORBIDDEN and text is not None):
        return Unauthorized(detail, generation=generation, status=status)
    if status == HTTPStatus.BAD_REQUEST:
        return SliceRejected(detail, named=named, status=status)
    transient = redirect_of(status, headers, redactor) or transient_error_of(status, body, text)
    return transient or SliceRejected(detail, named=named, status=status)


def transient_error_of(status: int, body: bytes, text: str | None) -> Transient | None:
    """Return the error if the cause is the server, the quota or a proxy; None for a refusal with the API's own text.

    Args:
        status: of the response.
        body: decoded; empty if it was unreadable.
        text: of the API's error, without secrets; None if the body is no error document.
    """
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled("429")
    if status in _SERVER_ERRORS or status in _SERVER_PROBLEMS:
        return SourceUnavailable(f"{status}: {text}" if text else str(status), outage=Outage.SERVER, status=status)
    if text is None or status not in _CLIENT_ERRORS or status in _PROXY_STATUSES:
        kind = "a web page" if is_html(body) else "not an answer of the API"
        return SourceUnavailable(f"{status}, {kind}", outage=Outage.NOT_API, status=status)
    return None


def redirect_of(status: int, headers: Mapping[str, str], redactor: Redactor) -> SourceUnavailable | None:
    """Return the error for an answer that redirects, with the URL without login, query and fragment; else None."""
    if status not in _REDIRECTS or "location" not in headers:
        return None
    try:
        parts = urlsplit(headers["location"])
        target = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        target = "an invalid URL"
    text = f"{status}, redirects to {quote_text(target, redactor)}; if it has moved, change `api.base_url`"
    return SourceUnavailable(text, outage=Outage.NOT_API, status=status)


def quote_text(text: str, redactor: Redactor) -> str:
    """Return foreign text for a message: without secrets, then cut and escaped."""
    return escape_text(redactor.redact(text))


def named_parameters(text: str, phone: str) -> frozenset[str]:
    """Return the request's parameters that a refusal names; not the phone if it says that the range is too wide."""
    found = {match.lower() for match in _PARAMETER_WORDS.findall(text)}
    if re.search(rf"(?<!\w){re.escape(phone)}(?!\w)", text):
        found.add("phone")
    return frozenset(found - {"phone"} if _RANGE_WORDS.search(text) else found)


def redact_metrics(metrics: Mapping[str, Entries], known: frozenset[str], redactor: Redactor) -> dict[str, Entries]:
    """Return the metrics of an answer with secrets masked in names, timestamps and values that are text.

    Numbers, timestamps of digits and the names of known metrics stay as they are, whatever the password is. After
    MAX_REDACTED_TEXTS different texts the others are masked whole, because an answer with that many is unusable anyway.
    What does not change is not copied: an answer may have 100,000 entries.

    Args:
        metrics: as parsed.
        known: names of the metrics that the resource is known to have.
        redactor: masks secrets.
    """
    safe_texts: dict[str, str] = {}

    def redact(text: str) -> str:
        if text not in safe_texts:
            if len(safe_texts) >= MAX_REDACTED_TEXTS:
                return MASK
            safe_texts[text] = redactor.redact(text)
        return safe_texts[text]

    def redact_entry(entry: tuple[str, Raw]) -> tuple[str, Raw]:
        timestamp, raw = entry
        safe_timestamp = timestamp if timestamp.isdigit() else redact(timestamp)
        if isinstance(raw, InvalidValue) and (text := redact(raw.text)) != raw.text:
            return safe_timestamp, InvalidValue(text, raw.reason)
        return entry if safe_timestamp == timestamp else (safe_timestamp, raw)

    return join_maps(
        [
            (
                name if name in known else redact(name),
                entries if _is_numeric(entries) else [redact_entry(entry) for entry in entries],
            )
            for name, entries in metrics.items()
        ]
    )


def _is_numeric(entries: Entries) -> bool:
    """Return True if all timestamps are digits and no value is text: the ordinary case, checked fast."""
    has_digits = "".join([timestamp for timestamp, _ in entries]).isdigit()
    return has_digits and InvalidValue not in {type(raw) for _, raw in entries}


def _error_of_ok(body: bytes, text: str | None, named: frozenset[str], redactor: Redactor) -> SourceError | None:
    if text is not None:
        detail = f"200, but {text}"
        return SliceRejected(detail, named=named) if named else PayloadError(detail)
    if body.strip() and not is_document(body):
        kind = "a web page" if is_html(body) else f"begins with {_beginning(body, redactor)!r}"
        return SourceUnavailable(f"200, {kind}", outage=Outage.NOT_API, status=HTTPStatus.OK)
    return None


def _beginning(body: bytes, redactor: Redactor) -> str:
    """Return the first characters of a body that is no document."""
    try:
        text = body.decode()
    except UnicodeDecodeError:  # another encoding, or cut inside a character
        text = body.decode("latin-1").replace("\0", "")
    return escape_text(redactor.redact(text)[:_BEGINNING_LENGTH])
