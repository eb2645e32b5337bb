"""Retry policy of a slice: five attempts with a growing, jittered pause.

An answer that did not come, or came broken, may come at the next attempt. The pause doubles from half a second up to
30 s; it is jittered so that workers which failed together do not return together. Everything else would be answered the
same way again. A 429 is about the quota, not about the slice: it costs no attempt and no pause, because the quota
itself waits, and so reads Retry-After with the other headers.
"""

from harvester.core.backoff import backoff

MAX_ATTEMPTS = 5
FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 30.0  # seconds


def pause(attempt: int, jitter: float) -> float:
    """Return the seconds to wait after failed attempt `attempt` (1 or more): half of the back-off or more.

    `jitter` is a random number in [0, 1).
    """
    return backoff(FIRST_PAUSE, attempt, LONGEST_PAUSE) * (1 + jitter) / 2
