"""How mistakes are put into words: one plain line each, printable whatever was written."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 60  # characters of somebody's value in a message


def plain(text: str) -> str:
    """One line that any terminal or log takes: what cannot be printed is escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shown(value: object) -> str:
    """A value as it was written, quoted if it is text, cut if it is long. Never for what may be a password."""
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        return "a huge number"  # Python refuses to write some of them
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that looks most like this one, if any does."""
    return next(iter(get_close_matches(word[:_LONGEST], sorted(known), n=1)), None)


def hint(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that names the nearest known word, or nothing."""
    found = nearest(word, known)
    return f"; did you mean {found}?" if found else ""


def none_of(value: object, known: Iterable[str]) -> str:
    """A choice that is none."""
    words = list(known)
    return f"{shown(value)} is none of {', '.join(words)}{hint(str(value), words) if isinstance(value, str) else ''}"
