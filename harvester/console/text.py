"""Durations and counts in words: the one place where they are formatted."""

from __future__ import annotations

import math

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float) -> str:
    """A stretch of time in its two largest units: "12 min 30 s"."""
    left = max(0, math.ceil(seconds))
    at = next((at for at, (size, _) in enumerate(_UNITS) if left >= size), len(_UNITS) - 1)
    words: list[str] = []
    for size, unit in _UNITS[at : at + 2]:
        count, left = divmod(left, size)
        if count or not words:
            words.append(f"{count} {unit}")
    return " ".join(words)


def counted(number: int, noun: str) -> str:
    """A number and what it counts."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
