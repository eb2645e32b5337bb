"""Exponential back-off: the one formula behind every growing pause."""

from __future__ import annotations

_MOST_DOUBLINGS = 40  # keeps the power small after days of attempts; any pause is at its longest before


def backoff(first: float, attempt: int, longest: float) -> float:
    """Return the pause after a failed attempt: `first` after the first, doubled after each further one.

    Args:
        first: seconds after the first failed attempt.
        attempt: how many attempts have failed, this one included; less than 1 counts as 1.
        longest: seconds that the pause never exceeds.
    """
    return min(longest, first * 2.0 ** min(max(attempt, 1) - 1, _MOST_DOUBLINGS))
