"""Whether to ask again after a failed request, and when.

An answer that did not come, or came broken, may come on the next try: five tries, with a pause that doubles from
half a second up to 30 s, jittered so that workers which failed together do not return together. The pause is never
longer than stated and never shorter than its half. A 429 is the quota's word, not a failure of the slice: it costs
no try and asks for no pause of its own, because the quota is the one that waits. Everything else will be answered
the same way again.

Retry-After is not read here: the quota hears it with the other headers.
"""

from __future__ import annotations

from dataclasses import dataclass

from harvester.core.backoff import backoff
from harvester.errors import HarvesterError, PayloadError, SourceUnavailable, Throttled

MAX_TRIES = 5
FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Retry:
    """Ask again."""

    after: float  # seconds
    counts: bool = True  # whether the failed request was one of the slice's tries


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not ask again by yourself."""


def decide(error: HarvesterError, attempt: int, jitter: float) -> Retry | GiveUp:
    """What to do after a request failed.

    Args:
        error: how it failed.
        attempt: how many tries of this slice have failed, this one included: 1 or more.
        jitter: a random number in [0, 1).
    """
    if isinstance(error, Throttled):
        return Retry(after=0.0, counts=False)
    if isinstance(error, SourceUnavailable | PayloadError) and attempt < MAX_TRIES:
        return Retry(after=pause(attempt, jitter))
    return GiveUp()


def pause(attempt: int, jitter: float) -> float:
    """Seconds to wait after the failed try number `attempt` (1 or more), for a random number in [0, 1)."""
    longest = backoff(FIRST_PAUSE, attempt, LONGEST_PAUSE)
    return longest * (1 + jitter) / 2
