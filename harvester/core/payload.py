"""Bytes to figures: what an answer's body says, JSON or XML, before anybody asks whether it makes sense.

The body's first byte decides between JSON and XML: the server's label is known to lie. A document is taken whole or
not at all; anything cut, trailing or undecodable is a PayloadError. Inside a whole document one bad entry spoils only
itself: it becomes a Junk with its reason, and the others stand.

- A metric is a map from timestamp text to number. `[]` is PHP's empty map. Anything else in its place becomes one
  Junk beside the timestamp text "". A name that comes twice has both its maps' pairs, so that duplicates show.
- A number is a JSON number or its text ("12", " 0.045 "). XML has no null: there an empty item is one.
- Both databases must keep the same number. So a whole number beyond 2**53 is Junk, because a double would change it
  silently, and so is what is not finite (NaN, 1e999). Any other finite double is kept.
- The text of a Junk is ASCII with escapes: no database and no log chokes on a NUL or half a surrogate pair.
- A small document could blow up to gigabytes of small objects, or of names: a namespace's name is repeated in every
  element that uses it. So the marks that begin an entry are counted first, text beyond ASCII (up to four bytes a
  character) must be short, and namespaces are refused.
- All text is UTF-8. What XML declares of itself is not believed: other encodings hide what is looked for.

Rejected: `parse_int` and `parse_float` hooks for all documents (a call per number; the ordinary metric is checked by
its extremes), and an error that quotes the body: the body may be a password.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from json import JSONDecodeError
from math import isfinite
from typing import TypeGuard, cast
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from harvester.core.model import InvalidValue, Raw
from harvester.errors import PayloadError

Entries = Sequence[tuple[str, Raw]]

MAX_EXACT_INTEGER = 2**53  # beyond it neighbouring whole numbers share one double
MAX_TEXT_LENGTH = 200  # of a Junk or an error, characters
NO_TIMESTAMP = ""  # stands beside what is in the place of a whole map, or of an item without a timestamp

_LONGEST_NUMBER = 64  # characters of a number as text
_MOST_MARKS = 100_000  # ten years of days of twelve metrics, in XML, have 88,000
_LONGEST_FOREIGN = 1024 * 1024  # bytes of a body with anything beyond ASCII in it
_LONGEST_CREDENTIAL = 1000  # characters; 32 are documented
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_PLAIN = frozenset({int, float})


def parse_metrics(body: bytes) -> dict[str, Entries]:
    """What stands beside each timestamp text, for each metric, in the server's order.

    Args:
        body: the whole decoded body of a 200.

    Raises:
        PayloadError: the body is no whole document of maps.
    """
    body = _trimmed(body)
    if body.startswith(b"<"):
        return _xml_metrics(_xml(body))
    document = _json(body)
    if document == []:
        return {}
    metrics: dict[str, Entries] = {}
    for name, value in _members(document):
        entries = _json_entries(value)
        metrics[name] = [*metrics[name], *entries] if name in metrics else entries
    return metrics


def parse_error(body: bytes) -> str | None:
    """Return the text of an error body as the server wrote it; None if the body is no error document. Never raises.

    The text may hold a secret and be of any length: redact it, then cut it with `escape_text`.
    """
    try:
        fields = _fields(body)
    except PayloadError:
        return None
    text = fields.get("error")
    return text.strip() if isinstance(text, str) else None


def parse_credentials(body: bytes) -> tuple[str, str]:
    """The login and password in an answer to /auth.

    Raises:
        PayloadError: there is no usable pair in it; the message quotes nothing.
    """
    fields = _fields(body)
    login, password = fields.get("login"), fields.get("password")
    if not isinstance(login, str) or not isinstance(password, str):
        raise PayloadError("an answer without a login and a password")
    if not (_carried(login) and _carried(password)) or ":" in login:
        raise PayloadError("an empty password, or a pair that HTTP cannot carry")
    return login, password


def is_html(body: bytes) -> bool:
    """Whether somebody's web page came in place of an answer."""
    head = _trimmed(body[:512]).lower()
    return head.startswith((b"<!doctype", b"<head", b"<body", b"<!--")) or (head.startswith(b"<") and b"<html" in head)


def is_document(body: bytes) -> bool:
    """Whether the body begins like JSON or XML of the API."""
    return _trimmed(body[:512]).startswith((b"{", b"[", b"<")) and not is_html(body)


def escape_text(text: str) -> str:
    """Foreign text fit for a database, a log and a terminal: ASCII, escaped, at most 200 characters."""
    return text[:MAX_TEXT_LENGTH].encode("unicode_escape").decode("ascii")[:MAX_TEXT_LENGTH]


def _trimmed(body: bytes) -> bytes:
    return body.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")


def _fields(body: bytes) -> dict[str, object]:
    """The members of a flat document; of a duplicate the last one."""
    body = _trimmed(body)
    if body.startswith(b"<"):
        return {child.tag: child.text for child in _xml(body)}
    return dict(_members(_json(body)))


def _carried(credential: str) -> bool:
    """Whether HTTP's Basic authorization takes it: no control characters, no half of a surrogate pair."""
    return 0 < len(credential) <= _LONGEST_CREDENTIAL and credential.isprintable()


def _text(body: bytes) -> str:
    """The body as text, if it is of an answer's size."""
    if not body:
        raise PayloadError("the body is empty")
    if sum(map(body.count, (b",", b"[", b"{", b"<"))) > _MOST_MARKS:
        raise PayloadError(
            "the body has too many entries for an answer; fewer days a request (max_days_per_request) help"
        )
    if len(body) > _LONGEST_FOREIGN and not body.isascii():
        raise PayloadError("the body is too long for one that is not ASCII")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PayloadError(f"not UTF-8 at byte {error.start}") from None


def _json(body: bytes) -> object:
    """The document with each object as a tuple of its pairs, so that an array is still told from it."""
    text = _text(body)
    try:
        try:
            return _DECODER.decode(text)
        except JSONDecodeError:
            raise
        except ValueError:  # a whole number with more digits than Python converts
            return _PATIENT_DECODER.decode(text)
    except JSONDecodeError as error:
        raise PayloadError(f"not JSON at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise PayloadError("nested too deeply") from None


def _is_object(value: object) -> TypeGuard[tuple[tuple[str, object], ...]]:
    return type(value) is tuple  # a Junk is a tuple, too


def _members(document: object) -> tuple[tuple[str, object], ...]:
    if not _is_object(document):
        raise PayloadError("the document is no object")
    return document


def _constant(name: str) -> InvalidValue:
    return InvalidValue(name, "not a finite number")


def _long_integer(text: str) -> int | InvalidValue:
    if len(text) > _LONGEST_NUMBER:
        return InvalidValue(text[:MAX_TEXT_LENGTH], "a whole number that a double would change")
    return int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_constant)
_PATIENT_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_constant, parse_int=_long_integer)


def _json_entries(value: object) -> Entries:
    if value == []:
        return ()
    if not _is_object(value):
        return ((NO_TIMESTAMP, InvalidValue(_json_shown(value), "no map of timestamps")),)
    if _all_plain([number for _, number in value]):
        return cast("Entries", value)
    return [(timestamp, _json_number(number)) for timestamp, number in value]


def _all_plain(values: Sequence[object]) -> bool:
    """Whether all are numbers that can be taken as they are: the ordinary case, told without a look at each."""
    if not values or not _PLAIN.issuperset(map(type, values)):
        return False
    numbers = cast("Sequence[float]", values)
    return min(numbers) >= -MAX_EXACT_INTEGER and max(numbers) <= MAX_EXACT_INTEGER


def _json_number(value: object) -> Raw:
    if value is None or isinstance(value, InvalidValue):
        return value
    if isinstance(value, bool):
        return InvalidValue(_json_shown(value), "true or false, no number")
    if isinstance(value, int | float):
        return _storable(value)
    if isinstance(value, str):
        return _text_number(value)
    return InvalidValue(
        _json_shown(value), "an array, no number" if isinstance(value, list) else "an object, no number"
    )


def _json_shown(value: object) -> str:
    if isinstance(value, InvalidValue):
        return value.text
    if isinstance(value, str):
        return escape_text(value)
    if isinstance(value, list):
        return "[...]"
    if _is_object(value):
        return "{...}"
    return escape_text(json.dumps(value))


def _text_number(text: str) -> Raw:
    text = text.strip(" \t\r\n")
    if len(text) > _LONGEST_NUMBER or _NUMBER.fullmatch(text) is None:
        return InvalidValue(escape_text(text), "not a number")
    return _storable(int(text) if text.removeprefix("-").isdigit() else float(text))


def _storable(number: float) -> Raw:
    """The number, unless storing it as a double would change it."""
    if isinstance(number, int):
        if abs(number) <= MAX_EXACT_INTEGER:
            return number
        return InvalidValue(escape_text(str(number)), "a whole number that a double would change")
    return number if isfinite(number) else InvalidValue(str(number), "not a finite number")


def _xml(body: bytes) -> Element:
    text = _text(body)
    if text.count("=") > _MOST_MARKS:  # attributes, for which no other mark stands
        raise PayloadError("the body has too many attributes for an answer")
    if "xmlns" in text:
        raise PayloadError("XML with namespaces")
    try:
        root: Element = defusedxml.ElementTree.fromstring(text, forbid_dtd=True)
    except ParseError as error:
        line, column = error.position
        raise PayloadError(f"not XML at line {line}, column {column}") from None
    except DefusedXmlException:
        raise PayloadError("XML with a DTD or entities") from None
    if root.tag != "result":
        raise PayloadError(f"XML of something else: <{escape_text(root.tag)}>")
    return root


def _xml_metrics(root: Element) -> dict[str, Entries]:
    metrics: dict[str, Entries] = {}
    for child in root:
        entries = _xml_entries(child)
        metrics[child.tag] = [*metrics[child.tag], *entries] if child.tag in metrics else entries
    return metrics


def _xml_entries(metric: Element) -> Entries:
    text = (metric.text or "").strip()
    entries: list[tuple[str, Raw]] = [_xml_entry(item) for item in metric]
    return [(NO_TIMESTAMP, InvalidValue(escape_text(text), "no map of timestamps")), *entries] if text else entries


def _xml_entry(item: Element) -> tuple[str, Raw]:
    timestamp = item.get("timestamp")
    text = item.text or ""
    if item.tag != "item" or timestamp is None:
        return NO_TIMESTAMP, InvalidValue(escape_text(text.strip() or item.tag), "no item with a timestamp")
    if len(item):
        return timestamp, InvalidValue(escape_text(item[0].tag), "an element, no number")
    return timestamp, _text_number(text) if text.strip() else None
