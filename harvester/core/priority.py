"""Priority of a slice in the daemon: fresh data, then repairs, then the past; and the cool-down of a failed slice.

A slice is fresh if it holds a period that is not final yet: it may still change, and users wait for it. It is a repair
if it failed before or lies after the oldest stored day of its series: a hole. Everything else is the past.
The cool-down is a quarter of an hour, doubled after each further failure, and a day at most.
"""

from collections.abc import Callable
from datetime import timedelta
from enum import IntEnum

from harvester.core.backoff import backoff
from harvester.core.model import Slice
from harvester.core.planning import Rules, Stored

FIRST_COOLDOWN = 900  # seconds
LONGEST_COOLDOWN = 86_400  # seconds


class Priority(IntEnum):
    """Order in which slices are asked for, the lowest number first."""

    FRESH = 0  # holds a period that is not final yet
    REPAIR = 1  # a hole, or failed before
    PAST = 2  # older than anything stored


def priority_by(stored: Stored, rules: Rules) -> Callable[[Slice], Priority]:
    """Return a function that ranks slices by the present state of their series."""
    newest_final_end = rules.today - timedelta(days=rules.settle_days)

    def priority(piece: Slice) -> Priority:
        series = piece.series
        if piece.last >= rules.calendar.floor(series.period, newest_final_end):
            return Priority.FRESH
        stretches = stored.coverage.get(series, ())
        if stretches and piece.last > stretches[0].first:
            return Priority.REPAIR
        failed = stored.failed.get(series, ())
        if any(span.first <= piece.last and piece.first <= span.last for span in failed):
            return Priority.REPAIR
        return Priority.PAST

    return priority


def cooldown_left(attempts: int, failed_at: int, now: float) -> float:
    """Return the seconds until a slice that failed `attempts` times, last at `failed_at` (epoch seconds), may be tried.

    A failure in the future was recorded before the clock was stepped back and has no cool-down.
    """
    cooldown = backoff(FIRST_COOLDOWN, attempts, LONGEST_COOLDOWN)
    return max(0.0, failed_at + cooldown - now) if failed_at <= now else 0.0
