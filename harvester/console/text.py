"""Durations, counts and moments as text: the one place where they are formatted."""

from __future__ import annotations

import math
from datetime import UTC, datetime

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float) -> str:
    """Return a duration, rounded up to whole seconds, in its two largest units: "12 min 30 s"."""
    left = max(0, math.ceil(seconds))
    at = next((at for at, (size, _) in enumerate(_UNITS) if left >= size), len(_UNITS) - 1)
    words: list[str] = []
    for size, unit in _UNITS[at : at + 2]:
        count, left = divmod(left, size)
        if count or not words:
            words.append(f"{count} {unit}")
    return " ".join(words)


def clock_skew(ahead: float) -> str:
    """Return the place of the host's clock, `ahead` seconds ahead of the API's: "2 d ahead of the API's"."""
    return f"{duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the API's"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural: "1 slice", "1,200 slices"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def utc_time(epoch: float) -> str:
    """Return an epoch second as ISO text in UTC: "2024-03-20T16:00:00Z"."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
