"""What a daemon asks for first: fresh data, then repairs, then the past; and when a failed slice is tried again.

A slice is fresh when it holds a period that is not settled yet: it may still change, and somebody waits for it. It is
a repair when it failed before or lies after the oldest day stored of its series: a hole. Everything else is the past.

A failed slice rests for a quarter of an hour, twice as long after each further failure, a day at most.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from enum import IntEnum
from typing import TYPE_CHECKING

from harvester.core.backoff import backoff

if TYPE_CHECKING:
    from harvester.core.model import Slice
    from harvester.core.planning import Rules, Stored


class Priority(IntEnum):
    """What goes first."""

    FRESH = 0  # holds a period that is not settled yet
    REPAIR = 1  # a hole, or what failed before
    PAST = 2  # older than anything stored


FIRST_COOLDOWN = 900  # seconds
LONGEST_COOLDOWN = 86_400


def priority_by(stored: Stored, rules: Rules) -> Callable[[Slice], Priority]:
    """Ranks slices by what is stored of their series now."""

    def priority(piece: Slice) -> Priority:
        series = piece.series
        if piece.last >= provisional_since(rules, piece):
            return Priority.FRESH
        stretches = stored.coverage.get(series, ())
        if stretches and piece.last > stretches[0].first:
            return Priority.REPAIR
        failed = stored.failed.get(series, ())
        if any(span.first <= piece.last and piece.first <= span.last for span in failed):
            return Priority.REPAIR
        return Priority.PAST

    return priority


def provisional_since(rules: Rules, piece: Slice) -> date:
    """The first day of the oldest period that may not be settled today."""
    limit = rules.today.fromordinal(rules.today.toordinal() - rules.settle_days)
    return rules.calendar.floor(piece.series.period, limit)


def cooldown_left(attempts: int, failed_at: int, now: float) -> float:
    """Seconds until a slice that failed so many times, last at `failed_at`, may be tried again (epoch seconds).

    A failure in the future was noted before the clock was stepped back: it rests no longer.
    """
    rest = backoff(FIRST_COOLDOWN, attempts, LONGEST_COOLDOWN)
    return max(0.0, failed_at + rest - now) if failed_at <= now else 0.0
