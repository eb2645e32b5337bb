"""What a daemon's round asks for: everything from the account's start that is missing, as urgent as it is.

Two things rest: failed slices, for growing times, and the unsettled tail that was stored since the last tick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

from harvester.core.coverage import Span, final_spans, final_through, gaps, merge_spans, stretch_of
from harvester.core.planning import Desire, Plan, Rules, plan_slices
from harvester.core.priority import Priority, cooldown_left, priority_by
from harvester.engine.account_plan import configured_series, stored_of

if TYPE_CHECKING:
    from harvester.config import Account
    from harvester.core.model import Batch, Series, Slice, Stretch
    from harvester.core.period import Period
    from harvester.core.refusal import RangeLimitTracker
    from harvester.store.types import FailedRange

Spans = dict["Series", list[Span]]


@dataclass(slots=True)
class Tail:
    """The unsettled days that were stored since the last tick."""

    spans: Spans = field(default_factory=dict)

    def stored(self, batch: Batch, rules: Rules) -> None:
        """An answer was stored.

        Whether all of it is settled is judged as the store does, by the server's clock: where ours is ahead, a day
        that looks settled to us is not, and would be asked for again and again.
        """
        piece, calendar = batch.slice, rules.calendar
        stretch = stretch_of(piece, calendar.local_date(batch.sent_at), calendar)
        if final_through(stretch, piece.series.period, calendar, rules.settle_days) < piece.last:
            self.spans.setdefault(piece.series, []).append(Span(piece.first, piece.last))

    def tick(self) -> None:
        """Everything unsettled is wanted again."""
        self.spans.clear()

    def kept_in(self, coverage: Mapping[Series, Sequence[Stretch]]) -> Spans:
        """Those days of them that are stored still: a database that crashes may forget what it said it had."""
        found: Spans = {}
        for series, spans in self.spans.items():
            stored = merge_spans(Span(stretch.first, stretch.last) for stretch in coverage.get(series, ()))
            found[series] = [part for span in spans for part in gaps(span, gaps(span, stored))]
        return found


@dataclass(frozen=True, slots=True)
class ReconcilePlan:
    """What to do now, and when something that rests will be due (seconds from now; None: nothing rests)."""

    plan: Plan
    priority: Callable[[Slice], Priority]
    due_in: float | None
    complete_through: Mapping[tuple[str, Period], date | None]  # by resource and period: what all phones have


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSeries:
    """What the store holds of an account."""

    coverage: Mapping[Series, Sequence[Stretch]]
    failed: Sequence[FailedRange]


def plan_reconcile(
    account: Account,
    rules: Rules,
    kept: StoredSeries,
    limit_trackers: Mapping[str, RangeLimitTracker],
    *,
    tail: Tail,
    others: Mapping[Series, Sequence[Span]],
    now: float,
) -> ReconcilePlan:
    """Subtract what is stored, what rests, and what is done for somebody else, from what is configured.

    Args:
        account: with a `start`.
        rules: its calendar and today.
        kept: what the store holds.
        limit_trackers: what the server takes.
        tail: what was stored since the last tick.
        others: days that orders are worked on for.
        now: epoch seconds.
    """
    excluded: Spans = {}
    again = []
    waits = []
    for failure in kept.failed:
        left = cooldown_left(failure.attempts, failure.failed_at, now)
        if left > 0:
            excluded.setdefault(failure.series, []).append(Span(failure.first, failure.last))
            waits.append(left)
        else:
            again.append(failure)
    for spans in (tail.kept_in(kept.coverage), others):
        for series, more in spans.items():
            excluded.setdefault(series, []).extend(more)
    stored = replace(stored_of(kept.coverage, again), excluded=excluded)
    widths = {resource: limit_tracker.allowed(now) for resource, limit_tracker in limit_trackers.items()}
    start = account.start or rules.today
    desires = [Desire(series, start, rules.today) for series in configured_series(account)]
    return ReconcilePlan(
        plan=plan_slices(desires, stored, rules, widths),
        priority=priority_by(stored, rules),
        due_in=min(waits, default=None),
        complete_through=_complete_through(configured_series(account), kept.coverage, rules),
    )


def _complete_through(
    wanted: Iterable[Series], coverage: Mapping[Series, Sequence[Stretch]], rules: Rules
) -> dict[tuple[str, Period], date | None]:
    """For each resource and period the last day that every phone has a complete figure of; None: one has none."""
    through: dict[tuple[str, Period], date | None] = {}
    for series in wanted:
        spans = final_spans(coverage.get(series, ()), series.period, rules.calendar, 0)
        last = spans[-1].last if spans else None
        key = (series.resource, series.period)
        known = through.get(key, last)
        through[key] = min(known, last) if known and last else None
    return through
