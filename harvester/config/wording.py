"""Wording of mistakes: one printable line each, whatever the file or the variable contains."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MAX_LENGTH = 60  # characters of a written value in a message


def printable(text: str) -> str:
    """Return the text as one line in which unprintable characters are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def quoted(value: object) -> str:
    """Return a value as it was written, in quotes if it is text, cut if it is long. Never use it for a password."""
    if isinstance(value, int) and abs(value) >= 10**_MAX_LENGTH:
        return "a huge number"  # Python refuses to format the longest ones
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 3] + "..."


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most similar, or None if none is."""
    return next(iter(get_close_matches(word[:_MAX_LENGTH], sorted(known), n=1)), None)


def hint(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names the nearest known word, or an empty text."""
    found = nearest(word, known)
    return f"; did you mean {found}?" if found else ""


def none_of(value: object, known: Iterable[str]) -> str:
    """Return the sentence that refuses a value which is not among the known ones."""
    words = list(known)
    return f"{quoted(value)} is none of {', '.join(words)}{hint(str(value), words) if isinstance(value, str) else ''}"
