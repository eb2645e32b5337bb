"""Exponential back-off: the one formula for every growing pause."""

_MAX_DOUBLINGS = 40  # bounds the power after days of attempts; every pause has reached its longest by then


def backoff(first: float, attempt: int, longest: float) -> float:
    """Return the pause after a failed attempt: `first` after the first one, then doubled for each further one.

    Args:
        first: seconds after the first failed attempt.
        attempt: number of failed attempts, this one included; less than 1 counts as 1.
        longest: seconds that the pause never exceeds.
    """
    return min(longest, first * 2.0 ** min(max(attempt, 1) - 1, _MAX_DOUBLINGS))
