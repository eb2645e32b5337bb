"""Search for a server that cuts wide answers silently: an absent edge is asked for alone, once.

If the edge has data then, the wider answer was cut, and the width of what came is a range limit. An edge whose absence
is known from an earlier run is left to planning (`core/absence.py`). After an edge that has data, its own absent edge
is asked for, and so on: each such request brings at least one period.
"""

from collections.abc import Mapping, Sequence

from harvester.core.absence import AbsentSpan, absent_edge
from harvester.core.coverage import Span, gaps
from harvester.core.model import Batch, Series, Slice
from harvester.core.period import Calendar
from harvester.core.range_limits import RangeLimitTracker, Task

SMALLEST_CAP = 31  # days; a range of so few days is not narrowed because an edge was absent once


def edge_of(batch: Batch | None, calendar: Calendar) -> Span | None:
    """Return the absent edge of an answer, if it has one."""
    if batch is None:
        return None
    return absent_edge(batch.slice, batch.absent, calendar.local_date(batch.sent_at), calendar)


def after_edge(
    task: Task,
    batch: Batch | None,
    edge: Span | None,
    known: Mapping[Series, Sequence[AbsentSpan]],
    limit_tracker: RangeLimitTracker,
    now: float,
) -> tuple[Task, ...]:
    """Learn from an answer whether wide ones are cut; return the task for its absent edge, if that is to be asked for.

    Args:
        task: that was answered.
        batch: the answer.
        edge: its absent edge.
        known: absence that was stored before this run.
        limit_tracker: of the resource.
        now: epoch seconds.
    """
    piece = task.slice
    if batch is not None and task.edge_of and len(batch.absent) == len(batch.grid):
        if limit_tracker.limits.refused is None:
            limit_tracker.record_accepted(task.edge_of)  # the wider answer was whole
    elif task.edge_of > SMALLEST_CAP:
        refused, passed = piece.days if edge else task.edge_of, max(task.edge_of - piece.days, SMALLEST_CAP)
        if refused > passed:
            limit_tracker.record_refused(refused, passed, now)
    if edge is None or task.older is not None:
        return ()
    stored = [Span(span.first, span.last) for span in known.get(piece.series, ())]
    if not task.edge_of and not gaps(edge, stored):
        return ()
    return (Task(Slice(piece.series, edge.first, edge.last), edge_of=piece.days),)
