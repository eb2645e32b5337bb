"""Parser of an answer's body, JSON or XML, into metrics; whether their values make sense is decided later.

The first byte of the body decides between JSON and XML, because the server's content type is known to be wrong. A
document is accepted whole or not at all: anything cut, trailing or undecodable is a PayloadError. Within a whole
document a bad entry spoils only itself: it becomes an InvalidValue with its reason, and the others stand.

- A metric is a map from timestamp text to number. `[]` is PHP's empty map. Anything else in its place becomes one
  InvalidValue under the timestamp text "". A name that comes twice has the pairs of both maps, so that duplicates show.
- An empty error beside metrics (`"error": ""`) is none.
- A number is a JSON number or its text ("12", " 0.045 "). XML has no null: there an empty item is one.
- Both databases must store the same number. So a whole number beyond 2**53 is an InvalidValue, because a double would
  change it silently, and so is what is not finite (NaN, 1e999). Any other finite double is accepted.
- The text of an InvalidValue is escaped ASCII: no database and no log fails on a NUL or half a surrogate pair.
- A small document could grow to gigabytes of small objects, or of names: a namespace's name is repeated in every
  element that uses it. So the characters that begin an entry are counted first, a body with anything beyond ASCII (up
  to four bytes a character) must be short, and namespaces are refused.
- Reading takes time proportional to the body: maps of one name are joined once, and whole numbers of more than 64
  digits are not converted.
- All text is UTF-8. The encoding that XML declares is ignored: other encodings hide the characters that are counted.

Rejected: `parse_int` and `parse_float` hooks for all documents (a call per number; the ordinary metric is checked by
its extremes), and an error that quotes the body (the body may be a password).
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
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
MAX_TEXT_LENGTH = 200  # characters of an InvalidValue or an error
NO_TIMESTAMP = ""  # key of a value in the place of a whole map, or of an item without a timestamp

_MAX_NUMBER_LENGTH = 64  # characters of a number as text
_MAX_MARKS = 100_000  # characters that begin an entry; ten years of days of twelve metrics, in XML, have 88,000
_MAX_NON_ASCII_BODY = 1024 * 1024  # bytes of a body with anything beyond ASCII in it
_MAX_CREDENTIAL_LENGTH = 1000  # characters; 32 are documented
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_LONG_INTEGER = re.compile(rf"(?<![0-9])[0-9]{{{_MAX_NUMBER_LENGTH + 1}}}")  # converting one takes quadratic time
_NUMBER_TYPES = frozenset({int, float})


def parse_metrics(body: bytes) -> dict[str, Entries]:
    """Return the (timestamp text, value) pairs of each metric in the server's order.

    Args:
        body: the whole body of a 200, decompressed.

    Raises:
        PayloadError: the body is no whole document of maps.
    """
    body = _trim(body)
    if body.startswith(b"<"):
        found = [(metric.tag, _xml_entries(metric)) for metric in _xml(body)]
    else:
        document = _json(body)
        members = _members(document) if document != [] else ()
        found = [
            (name, _json_entries(value))
            for name, value in members
            if len(members) == 1 or not _says_no_error(name, value)
        ]
    return join_maps(found)


def _says_no_error(name: str, value: object) -> bool:
    """Return True for an empty error beside metrics."""
    return name == "error" and (value is None or (isinstance(value, str) and not value.strip()))


def join_maps(found: Sequence[tuple[str, Entries]]) -> dict[str, Entries]:
    """Return each metric's pairs; a name that comes several times has the pairs of all its maps."""
    if len(metrics := dict(found)) == len(found):
        return metrics
    maps: defaultdict[str, list[Entries]] = defaultdict(list)
    for name, entries in found:
        maps[name].append(entries)
    return {name: [*chain.from_iterable(parts)] for name, parts in maps.items()}


def parse_error(body: bytes) -> str | None:
    """Return the text of an error body as the server wrote it; None if the body is no error document. Never raises.

    The text may hold a secret and be of any length: redact it, then cut it with `escape_text`.
    """
    try:
        fields = _fields(body)
    except PayloadError:
        return None
    text = fields.get("error")
    if not isinstance(text, str) or (not text.strip() and len(fields) > 1):
        return None
    return text.strip()


def parse_credentials(body: bytes) -> tuple[str, str]:
    """Return the login and password in an answer to /auth.

    Raises:
        PayloadError: it has no usable pair; the message quotes nothing of the body.
    """
    fields = _fields(body)
    login, password = fields.get("login"), fields.get("password")
    if not isinstance(login, str) or not isinstance(password, str):
        raise PayloadError("an answer without a login and a password")
    if not (_fits_http(login) and _fits_http(password)) or ":" in login:
        raise PayloadError("an empty password, or a pair that HTTP cannot carry")
    return login, password


def is_html(body: bytes) -> bool:
    """Return True if the body is a web page, which some other server sent."""
    head = _trim(body[:512]).lower()
    return head.startswith((b"<!doctype", b"<head", b"<body", b"<!--")) or (head.startswith(b"<") and b"<html" in head)


def is_document(body: bytes) -> bool:
    """Return True if the body begins like JSON or XML of the API."""
    return _trim(body[:512]).startswith((b"{", b"[", b"<")) and not is_html(body)


def escape_text(text: str) -> str:
    """Return foreign text as at most 200 characters of escaped ASCII: safe for a database, a log and a terminal."""
    return text[:MAX_TEXT_LENGTH].encode("unicode_escape").decode("ascii")[:MAX_TEXT_LENGTH]


def _trim(body: bytes) -> bytes:
    return body.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")


def _fields(body: bytes) -> dict[str, object]:
    """Return the members of a flat document; of duplicates the last one."""
    body = _trim(body)
    if body.startswith(b"<"):
        return {child.tag: child.text for child in _xml(body)}
    return dict(_members(_json(body)))


def _fits_http(credential: str) -> bool:
    """Return True if HTTP's Basic authorization can carry it: no control characters, no half of a surrogate pair."""
    return 0 < len(credential) <= _MAX_CREDENTIAL_LENGTH and credential.isprintable()


def _text(body: bytes) -> str:
    """Return the body as text; raise PayloadError if it is larger than an answer."""
    if not body:
        raise PayloadError("the body is empty")
    if sum(map(body.count, (b",", b"[", b"{", b"<"))) > _MAX_MARKS:
        raise PayloadError("the body has too many entries for an answer; set a smaller max_days_per_request")
    if len(body) > _MAX_NON_ASCII_BODY and not body.isascii():
        raise PayloadError("the body is too long for one that is not ASCII")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PayloadError(f"not UTF-8 at byte {error.start}") from None


def _json(body: bytes) -> object:
    """Return the document, each object as a tuple of its pairs, so that an array still differs from it."""
    text = _text(body)
    try:
        return (_LONG_INTEGER_DECODER if _LONG_INTEGER.search(text) else _DECODER).decode(text)
    except JSONDecodeError as error:
        raise PayloadError(f"not JSON at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise PayloadError("nested too deeply") from None


def _is_object(value: object) -> TypeGuard[tuple[tuple[str, object], ...]]:
    return type(value) is tuple  # InvalidValue is a subclass


def _members(document: object) -> tuple[tuple[str, object], ...]:
    if not _is_object(document):
        raise PayloadError("the document is no object")
    return document


def _not_finite(name: str) -> InvalidValue:
    return InvalidValue(name, "not a finite number")


def _long_integer(text: str) -> int | InvalidValue:
    if len(text) > _MAX_NUMBER_LENGTH:
        return InvalidValue(text[:MAX_TEXT_LENGTH], "a whole number that a double would change")
    return int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_not_finite)
_LONG_INTEGER_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_not_finite, parse_int=_long_integer)


def _json_entries(value: object) -> Entries:
    if value == []:
        return ()
    if not _is_object(value):
        return ((NO_TIMESTAMP, InvalidValue(_json_text(value), "no map of timestamps")),)
    if _all_storable([number for _, number in value]):
        return cast("Entries", value)
    return [(timestamp, _json_number(number)) for timestamp, number in value]


def _all_storable(values: Sequence[object]) -> bool:
    """Return True if all are numbers that need no change: the ordinary case, decided without a look at each."""
    if not values or not _NUMBER_TYPES.issuperset(map(type, values)):
        return False
    numbers = cast("Sequence[float]", values)
    return min(numbers) >= -MAX_EXACT_INTEGER and max(numbers) <= MAX_EXACT_INTEGER


def _json_number(value: object) -> Raw:
    if value is None or isinstance(value, InvalidValue):
        return value
    if isinstance(value, bool):
        return InvalidValue(_json_text(value), "true or false, no number")
    if isinstance(value, int | float):
        return _storable(value)
    if isinstance(value, str):
        return _text_number(value)
    kind = "an array" if isinstance(value, list) else "an object"
    return InvalidValue(_json_text(value), f"{kind}, no number")


def _json_text(value: object) -> str:
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
    if len(text) > _MAX_NUMBER_LENGTH or _NUMBER.fullmatch(text) is None:
        return InvalidValue(escape_text(text), "not a number")
    return _storable(int(text) if text.removeprefix("-").isdigit() else float(text))


def _storable(number: float) -> Raw:
    """Return the number; an InvalidValue if storing it as a double would change it."""
    if isinstance(number, int):
        if abs(number) <= MAX_EXACT_INTEGER:
            return number
        return InvalidValue(escape_text(str(number)), "a whole number that a double would change")
    return number if isfinite(number) else InvalidValue(str(number), "not a finite number")


def _xml(body: bytes) -> Element:
    text = _text(body)
    if text.count("=") > _MAX_MARKS:  # attributes, which the other counted characters miss
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
        raise PayloadError(f"XML with the root element <{escape_text(root.tag)}>")
    return root


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
