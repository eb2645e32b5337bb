"""Search for the last day that the server serves, where not even the newest period of a slice is accepted.

An API may serve its figures up to two days ago and refuse every range that ends later; so does any API for a host whose
clock is ahead. The search asks for single periods, because neither their width nor their start can be the reason of a
refusal, and goes back from the newest one in growing steps:

    oldest |------------- older days -------------|= probe =|------ newer days ------| newest

The first period that passes frees all older days, and the days between it and the last refused period are bisected. The
days after the boundary are left for another day: neither failed nor asked for again within a day. If not even the
oldest period passes, the end was not the reason, and the whole slice fails; then no other slice is searched for its
end before something is accepted.

Invariant: each day of the task is in exactly one of the tasks that follow, in the failed slice, or after the boundary.
The number of requests grows with the logarithm of the days.
"""

from dataclasses import replace
from datetime import date

from harvester.core.coverage import Span
from harvester.core.model import Slice
from harvester.core.period import ONE_DAY, Calendar, Period
from harvester.core.range_limits import NextStep, RangeLimitTracker, Task, middle_of

FIRST_STEP = 1  # periods
STEP_FACTOR = 5  # of each step to the one before
_DAYS = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}


def ask_newest_period(task: Task, calendar: Calendar, *, excluded: Span | None) -> Task:
    """Return the first probe of a search: the newest period alone. `excluded` are days after the slice."""
    piece = task.slice
    first = calendar.floor(piece.series.period, piece.last)
    probe = Task(replace(piece, first=first), newer=excluded, step=FIRST_STEP, end_tried=task.end_tried)
    return replace(probe, older=_span(task.whole.first, first - ONE_DAY))


def after_probe_passed(
    task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar, today: date, now: float
) -> NextStep:
    """Return what to ask after a probe was answered: what is older, and the next probe of what is newer."""
    piece, older, newer = task.slice, task.older, task.newer
    tasks = (Task(Slice(piece.series, *older), end_tried=task.end_tried),) if older else ()
    if task.refused_from is None or newer is None:  # the end was not the reason; an excluded current period can wait
        if newer is not None and newer.first < calendar.floor(piece.series.period, today):
            tasks = (Task(Slice(piece.series, *newer), end_tried=task.end_tried), *tasks)
        return NextStep(tasks)
    unknown = _span(piece.last + ONE_DAY, task.refused_from - ONE_DAY)
    if unknown is None:
        limit_tracker.record_end(piece.last, piece.series.phone, today, now)
        return NextStep(tasks)
    searched = replace(task, older=None, end_passed=True)
    return NextStep((_probe(searched, unknown, newer.last, calendar), *tasks))


def after_probe_refused(
    task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar, today: date, now: float
) -> NextStep:
    """Return what to ask, or what to give up, after a probe was refused."""
    piece, older, last = task.slice, task.older, task.whole.last
    task = replace(task, refused_from=piece.first)
    if task.end_passed:
        if older is not None:
            return NextStep((_probe(task, older, last, calendar),))
        limit_tracker.record_end(piece.first - ONE_DAY, piece.series.phone, today, now)
        return NextStep()
    if older is None:
        limit_tracker.all_ends_refused = True
        return NextStep(failed=task.whole)
    period = piece.series.period
    earliest = calendar.floor(period, older.first)
    back = piece.first.toordinal() - task.step * _DAYS[period]
    first = calendar.floor(period, date.fromordinal(max(back, earliest.toordinal())))
    probe = Span(first, calendar.last(period, first))
    step = replace(task, slice=Slice(piece.series, *probe), step=task.step * STEP_FACTOR)
    newer = Span(probe.last + ONE_DAY, last)
    return NextStep((replace(step, older=_span(older.first, first - ONE_DAY), newer=newer),))


def _probe(task: Task, unknown: Span, last: date, calendar: Calendar) -> Task:
    """Return the task for the middle period of `unknown`; `last` is the last day of the task."""
    period = task.slice.series.period
    first = middle_of(unknown, period, calendar)
    probe = Slice(task.slice.series, first, calendar.last(period, first))
    older = _span(unknown.first, first - ONE_DAY)
    return replace(task, slice=probe, older=older, newer=Span(probe.last + ONE_DAY, last))


def _span(first: date, last: date) -> Span | None:
    return Span(first, last) if first <= last else None
