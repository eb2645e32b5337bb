"""Plan of one round of the daemon: everything from the account's start that is missing, with its priority.

Not asked for in a round: failed slices in their cool-down, provisional days stored since the last tick, and days that a
backfill order asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from harvester.config import Account
from harvester.core.absence import AbsentSpan
from harvester.core.coverage import Span, final_spans, final_through, gaps, merge_spans, stretch_of
from harvester.core.model import Batch, RangeKey, Series, Slice, Stretch
from harvester.core.period import Period
from harvester.core.planning import Desire, Plan, Rules, plan_slices
from harvester.core.priority import Priority, cooldown_left, priority_by
from harvester.core.range_limits import RangeLimitTracker
from harvester.engine.account_plan import configured_series, max_days_of, stored_of
from harvester.store.types import FailedRange

Spans = dict[Series, list[Span]]


@dataclass(slots=True)
class ProvisionalDays:
    """Days that are not final and were stored since the last tick.

    They are in memory only: a daemon that starts asks for them once more than necessary rather than never.
    """

    spans: Spans = field(default_factory=dict)

    def add(self, batch: Batch, rules: Rules) -> None:
        """Add the days of a stored answer, unless all of it is final: nor are absent periods.

        What is final is decided as the store does, by the server's clock: where the host's clock is ahead, a day that
        is final by it is not final in the store, and would be asked for again and again.
        """
        piece, calendar = batch.slice, rules.calendar
        stretch = stretch_of(piece, calendar.local_date(batch.sent_at), calendar)
        final = final_through(stretch, piece.series.period, calendar, rules.settle_days)
        if final < piece.last or batch.absent:
            self.spans.setdefault(piece.series, []).append(Span(piece.first, piece.last))

    def clear(self) -> None:
        """Forget the days, so that all provisional days are asked for again."""
        self.spans.clear()

    def stored_in(self, coverage: Mapping[Series, Sequence[Stretch]]) -> Spans:
        """Return those of the days that are still stored: a database that crashes may lose committed transactions."""
        found: Spans = {}
        for series, spans in self.spans.items():
            stored = merge_spans(Span(stretch.first, stretch.last) for stretch in coverage.get(series, ()))
            found[series] = [part for span in spans for part in gaps(span, gaps(span, stored))]
        return found


@dataclass(frozen=True, slots=True)
class ReconcilePlan:
    """Plan of one round."""

    plan: Plan
    priority: Callable[[Slice], Priority]
    due_in: float | None  # seconds until the first cool-down ends; None without one
    complete_through: Mapping[tuple[str, Period], date | None]  # of all phones together, by resource and period


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSeries:
    """Coverage, failed slices and unconfirmed absence of an account in the store."""

    coverage: Mapping[Series, Sequence[Stretch]]
    failed: Sequence[FailedRange]
    absent: Mapping[Series, Sequence[AbsentSpan]] = field(default_factory=dict)


def plan_reconcile(
    account: Account,
    rules: Rules,
    stored: StoredSeries,
    limit_trackers: Mapping[RangeKey, RangeLimitTracker],
    *,
    provisional: ProvisionalDays,
    ordered: Mapping[Series, Sequence[Span]],
    now: float,
) -> ReconcilePlan:
    """Return the configured days less those that are stored, in a cool-down or in a backfill order.

    Args:
        account: with a `start`.
        rules: its calendar and today.
        stored: what the store holds of the account.
        limit_trackers: ranges that the server accepts.
        provisional: days that are not asked for again before the next tick.
        ordered: days that running backfill orders ask for.
        now: epoch seconds.
    """
    excluded: Spans = {}
    again = []
    waits = []
    for failure in stored.failed:
        left = cooldown_left(failure.attempts, failure.failed_at, now)
        if left > 0:
            excluded.setdefault(failure.series, []).append(Span(failure.first, failure.last))
            waits.append(left)
        else:
            again.append(failure)
    for spans in (provisional.stored_in(stored.coverage), ordered):
        for series, more in spans.items():
            excluded.setdefault(series, []).extend(more)
    known = replace(stored_of(stored.coverage, again, stored.absent), excluded=excluded)
    start = account.start or rules.today
    desires = [Desire(series, start, rules.today) for series in configured_series(account)]
    return ReconcilePlan(
        plan=plan_slices(desires, known, rules, max_days_of(limit_trackers, now)),
        priority=priority_by(known, rules),
        due_in=min(waits, default=None),
        complete_through=_complete_through(configured_series(account), stored.coverage, rules),
    )


def _complete_through(
    configured: Iterable[Series], coverage: Mapping[Series, Sequence[Stretch]], rules: Rules
) -> dict[tuple[str, Period], date | None]:
    """Return the last day of which every phone has a complete figure, by resource and period; None: one has none."""
    through: dict[tuple[str, Period], date | None] = {}
    for series in configured:
        spans = final_spans(coverage.get(series, ()), series.period, rules.calendar, 0)
        last = spans[-1].last if spans else None
        key = (series.resource, series.period)
        known = through.get(key, last)
        through[key] = min(known, last) if known and last else None
    return through
