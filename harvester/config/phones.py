"""Phone numbers: as people write them, and as the API does.

The API wants digits alone, ten for a North American number. So `(800) 555-1234`, `+1 800 555 1234` and
`1-800-555-1234` are all 8005551234: a leading 1 before ten digits is the country's. A number with another
country code is written with its `+` and keeps all its digits. Anything else without a `+` is refused, since a
lost digit is likelier than an unknown numbering plan; a `+` before any 7 to 15 digits lets it pass.
`ALL`, in any case, is the merged series.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from harvester.config.value_types import Phone
from harvester.config.wording import shown
from harvester.core.model import ALL

_DASHES = "\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}"
_FILLING = re.compile(rf"[\s().\-/{_DASHES}]")
_NATIONAL = 10
_FEWEST, _MOST = 7, 15
_BREAK = re.compile(r"[\s,;]+")
_LONGEST = 60  # characters that a number, blanks and all, may take
_HIGHEST = 10**_MOST
_MEND = "write ten digits, or + and the country code"


def normalize(written: object) -> str:
    """A number as the API writes it.

    Raises:
        ValueError: it is none; says so in plain words.
    """
    if isinstance(written, int) and not isinstance(written, bool) and 0 <= written < _HIGHEST:
        written = str(written)
    if not isinstance(written, str):
        raise ValueError(f"a phone number is text; {_MEND}")  # noqa: TRY004 - callers collect ValueErrors
    if written.strip().upper() == ALL:
        return ALL
    digits = _FILLING.sub("", written)
    international = digits.startswith("+")
    digits = digits.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{shown(written)} is no phone number; {_MEND}")
    if digits.startswith("1") and len(digits) == _NATIONAL + 1:
        return digits[1:]
    fits = _FEWEST <= len(digits) <= _MOST and digits[0] != "1" if international else len(digits) == _NATIONAL
    if not fits:
        raise ValueError(f"{shown(written)} has {len(digits)} digits; {_MEND}")
    return digits


def read_lines(text: str) -> Iterator[tuple[int, Phone | str]]:
    """Each line's number and its phone, or what is wrong with it. Blank lines and `#` comments are left out."""
    for number, line in enumerate(text.splitlines(), 1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        try:
            yield number, _read_line(written)
        except ValueError as error:
            yield number, str(error)


def merge(phones: Iterable[Phone]) -> tuple[Phone, ...]:
    """Every number once, in the order of first mention, with its name.

    A number that comes twice is no mistake: a list and a file may both hold it. Two names for one number are.

    Raises:
        ValueError: a number has two names.
    """
    names: dict[str, str | None] = {}
    for phone in phones:
        known = names.get(phone.number)
        if known and phone.name and known != phone.name:
            raise ValueError(f"{phone.number} has two names, {shown(known)} and {shown(phone.name)}: keep one")
        names[phone.number] = known or phone.name
    return tuple(Phone(number, name) for number, name in names.items())


def _read_line(line: str) -> Phone:
    # A number may hold blanks, and so may a name: the number is as long a beginning of the line as makes one.
    ends = [len(line), *(match.start() for match in _BREAK.finditer(line[:_LONGEST]))]
    for end in sorted(ends, reverse=True):
        try:
            return Phone(normalize(line[:end]), _name(line[end:]))
        except ValueError:
            continue
    return Phone(normalize(line))  # raises, with the whole line in its message


def _name(rest: str) -> str | None:
    """What follows a number. A `#` right behind it is a comment; one inside a name ("Suite #4") is not."""
    name = " ".join(rest.lstrip(",; \t").split())
    return name if name and not name.startswith("#") else None
