"""What a daemon asks for first: fresh data, then repairs, then the past; and when a failed slice is tried again.

A slice is fresh when it holds a period that is not settled yet: it may still change, and somebody waits for it. It is
a repair when it failed before or lies after the oldest day stored of its series: a hole. Everything else is the past.

A failed slice rests for a quarter of an hour, twice as long after each further failure, a day at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harvester.core.agenda import Rank

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from harvester.core.model import Slice
    from harvester.core.planning import Rules, Stored

FIRST_REST = 900  # seconds
LONGEST_REST = 86_400
_DOUBLINGS = 10


def rank_by(stored: Stored, rules: Rules) -> Callable[[Slice], Rank]:
    """Ranks slices by what is stored of their series now."""

    def rank(piece: Slice) -> Rank:
        series = piece.series
        if piece.last >= unsettled_since(rules, piece):
            return Rank.FRESH
        stretches = stored.coverage.get(series, ())
        if stretches and piece.last > stretches[0].first:
            return Rank.REPAIR
        failed = stored.failed.get(series, ())
        if any(span.first <= piece.last and piece.first <= span.last for span in failed):
            return Rank.REPAIR
        return Rank.PAST

    return rank


def unsettled_since(rules: Rules, piece: Slice) -> date:
    """The first day of the oldest period that may not be settled today."""
    limit = rules.today.fromordinal(rules.today.toordinal() - rules.settle_days)
    return rules.calendar.floor(piece.series.period, limit)


def rest_left(attempts: int, failed_at: int, now: float) -> float:
    """Seconds until a slice that failed so many times, last at `failed_at`, may be tried again (epoch seconds).

    A failure in the future was noted before the clock was stepped back: it rests no longer.
    """
    rest = min(LONGEST_REST, FIRST_REST * 2 ** min(max(0, attempts - 1), _DOUBLINGS))
    return max(0.0, failed_at + rest - now) if failed_at <= now else 0.0
