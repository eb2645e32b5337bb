"""Retry policy: decides whether a failed request is sent again, and after which pause.

An answer that did not come, or came broken, may come at the next attempt. So a slice has five attempts, with a pause
that doubles from half a second up to 30 s, jittered so that workers which failed together do not return together. The
pause is never longer than that and never shorter than half of it. A 429 is about the quota, not about the slice: it
costs no attempt and no pause, because the quota itself waits. Everything else would be answered the same way again.

Retry-After is not read here: the quota receives it with the other headers.
"""

from __future__ import annotations

from dataclasses import dataclass

from harvester.core.backoff import backoff
from harvester.errors import HarvesterError, PayloadError, SourceUnavailable, Throttled

MAX_ATTEMPTS = 5
FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Retry:
    """Decision to send the request again."""

    after: float  # seconds
    counts: bool = True  # the failed request was one of the slice's attempts


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Decision not to send the request again."""


def decide(error: HarvesterError, attempt: int, jitter: float) -> Retry | GiveUp:
    """Return what to do after a request failed.

    Args:
        error: the failure.
        attempt: failed attempts of this slice, this one included: 1 or more.
        jitter: a random number in [0, 1).
    """
    if isinstance(error, Throttled):
        return Retry(after=0.0, counts=False)
    if isinstance(error, SourceUnavailable | PayloadError) and attempt < MAX_ATTEMPTS:
        return Retry(after=pause(attempt, jitter))
    return GiveUp()


def pause(attempt: int, jitter: float) -> float:
    """Return the seconds to wait after failed attempt `attempt` (1 or more), for a random number in [0, 1)."""
    longest = backoff(FIRST_PAUSE, attempt, LONGEST_PAUSE)
    return longest * (1 + jitter) / 2
