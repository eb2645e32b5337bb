"""Phone numbers: parser of the usual notations into the notation of the API.

The API takes digits alone, ten for a North American number. So `(800) 555-1234`, `+1 800 555 1234` and `1-800-555-1234`
are all 8005551234: a leading 1 before ten digits is the country code. A number with another country code is written
with its `+` and keeps all its digits. Anything else without a `+` is refused, because a lost digit is more likely than
an unknown numbering plan, and so are ten digits that begin with 0 or 1, which no North American number does; with a
`+`, any 7 to 15 digits are accepted, but no "(0)", which is dialled only inside the country. `ALL`, in upper or lower
case, is the sum over all phones.

A line of a file is a number and optionally a name. What follows the number is refused if it may be part of the number
or another number: a wrong number would be asked for every day, and its figures would be missing without a sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from harvester.config.value_types import Phone
from harvester.config.wording import quoted
from harvester.core.model import ALL

_DASHES = "\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}"
_SEPARATORS = re.compile(rf"[\s().\-/{_DASHES}]")
_NATIONAL_DIGITS = 10
_MIN_DIGITS, _MAX_DIGITS = 7, 15
_BOUNDARY = re.compile(r"[\s,;]+")
_MAX_LENGTH = 60  # characters of a number with its separators
_LIMIT = 10**_MAX_DIGITS  # of a number written without quotes
_REMEDY = "write ten digits, or + and the country code"
_TRUNK_PREFIX = re.compile(r"\(\s*0\s*\)")
_IMPOSSIBLE_STARTS = ("0", "1")  # of an area code, without the country code; and 0 of a country code
_DIGITS_ALONE = re.compile(rf"[+\d\s().\-/{_DASHES}]+")
_NUMBER_IN_NAME = re.compile(rf"\d(?:[\s().\-/{_DASHES}]*\d){{{_NATIONAL_DIGITS - 1}}}")


def normalize(written: object) -> str:
    """Return a number in the notation of the API.

    Raises:
        ValueError: the value is not a phone number; the message says why.
    """
    if isinstance(written, int) and not isinstance(written, bool) and 0 <= written < _LIMIT:
        written = str(written)
    if not isinstance(written, str):
        raise ValueError(f"a phone number is text; {_REMEDY}")  # noqa: TRY004 - callers collect ValueErrors
    if written.strip().upper() == ALL:
        return ALL
    digits = _SEPARATORS.sub("", written)
    international = digits.startswith("+")
    digits = digits.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{quoted(written)} is not a phone number; {_REMEDY}")
    if digits.startswith("1") and len(digits) == _NATIONAL_DIGITS + 1:
        digits, international = digits[1:], False
    elif international:
        _refuse_trunk_prefix(written)
    fits = (
        _MIN_DIGITS <= len(digits) <= _MAX_DIGITS and digits[0] != "1"
        if international
        else len(digits) == _NATIONAL_DIGITS
    )
    if not fits:
        raise ValueError(f"{quoted(written)} has {len(digits)} digits; {_REMEDY}")
    if digits.startswith(_IMPOSSIBLE_STARTS):
        raise ValueError(f"{quoted(written)} begins with {digits[0]} like no number; {_REMEDY}")
    return digits


def _refuse_trunk_prefix(written: str) -> None:
    if _TRUNK_PREFIX.search(written):
        raise ValueError(f'{quoted(written)} has "(0)", which is not dialled after a country code: leave it out')


def read_lines(text: str) -> Iterator[tuple[int, Phone | str]]:
    """Yield the number of each line with its phone or its mistake. Blank lines and `#` comments are skipped."""
    for number, line in enumerate(text.splitlines(), 1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        try:
            yield number, _read_line(written)
        except ValueError as error:
            yield number, str(error)


def merge(phones: Iterable[Phone]) -> tuple[Phone, ...]:
    """Return every number once with its name, in the order of first occurrence.

    A number may occur twice, in a list and in a file. Two names for one number are a mistake.

    Raises:
        ValueError: a number has two names.
    """
    names: dict[str, str | None] = {}
    for phone in phones:
        known = names.get(phone.number)
        if known and phone.name and known != phone.name:
            raise ValueError(f"{phone.number} has two names, {quoted(known)} and {quoted(phone.name)}: remove one")
        names[phone.number] = known or phone.name
    return tuple(Phone(number, name) for number, name in names.items())


def _read_line(line: str) -> Phone:
    # Number and name may both contain blanks: the number is the longest beginning of the line that is a number.
    ends = [len(line), *(match.start() for match in _BOUNDARY.finditer(line[:_MAX_LENGTH]))]
    for end in sorted(ends, reverse=True):
        try:
            number = normalize(line[:end])
        except ValueError:
            continue
        return Phone(number, _name(line, end))
    if line.startswith("+"):
        _refuse_trunk_prefix(line)
    return Phone(normalize(line))  # raises, with the whole line in its message


def _name(line: str, end: int) -> str | None:
    """Return the name behind a number. A `#` directly behind the number begins a comment; in "Suite #4" it does not.

    Raises:
        ValueError: the name contains another number, or its beginning may be part of the first one.
    """
    rest = line[end:]
    name = " ".join(rest.lstrip(",; \t").split())
    if not name or name.startswith("#"):
        return None
    if name.upper() == ALL or _NUMBER_IN_NAME.search(name):
        raise ValueError(f"{quoted(line)} has more than one number; write each on a line of its own")
    if not any(character.isalpha() for character in name) and any(character.isdigit() for character in name):
        raise ValueError(f"{quoted(line)} has more digits behind the number; correct it, or write a name with letters")
    is_separated = any(character in ",;\t" for character in rest[: len(rest) - len(rest.lstrip(",; \t"))])
    if not is_separated and _DIGITS_ALONE.fullmatch(name.split(" ", 1)[0]):
        raise ValueError(
            f"{quoted(line)} has more digits behind the number; correct it, or put a comma before the name"
        )
    return name
