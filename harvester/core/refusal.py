"""Handling of refused slices: decides what to ask next, so that requests find the part of a slice that is refused.

A refusal (400) rarely gives its reason. It can be the width of the range, a start before the first data, a range that
holds today, or the phone. A Task is a slice to be asked for, together with the older days that wait for its answer:

    oldest |-- refused starts --|------ gap ------|== slice ==| newest
           |------------- older days -------------|

The slice is asked for first, because newer data is worth more. The older days were refused together with it. Refused
starts are those of them that, as far as is known, cannot begin a range: a range that begins on the last of them was
refused while its width was not the reason.

The rules, in this order (each a scenario in tests/unit/core/test_refusal.py):
1. A refusal that names the phone fails the slice and its older days together.
2. A slice that holds the current period is tried without it, unless it is that period alone or the server is known to
   accept it. If that passes, the current period is left for another day; if not, it is put back.
3. The width is the reason only if it is wider than anything that was accepted before for that account and resource,
   and only once the newer half has passed. Then the older days are cut again under the new limit. So a refusal for
   another reason never narrows the other requests.
4. Anything else, and any refusal that names `start`, means a start too early. Its boundary is found by bisection, and
   what is older fails as one slice. The period at the boundary is asked for alone before: if it passes, the width was
   the reason after all.
5. Where not even the newest period of a slice passes, or a refusal names `end`, the last day that is served is searched
   (core.end_search), unless a later day was answered in this process. Later days are left for another day.
A last day found for another phone, or the day before, is tried after the first refusal. A first day found for another
phone divides a slice beforehand: what begins there is asked for, then the period before it alone.
What an earlier run gave up after such a search is asked for once and not searched again; neither are the other slices
of a series of which not even the newest period was accepted. After a day, a range wider than the refused one is tried.

A server, or a proxy before it, may also fail on a range that is too wide: 5xx, no answer in time, a closed connection,
a cut or unusable body, a web page. This differs from an outage only in that narrower ranges pass. So after
`FAILURES_BEFORE_TEST` failures in a row, over all slices, without an answer to a range as wide in between, one of these
slices is tested by its newest period alone; a time-out of a range wider than any accepted before is tested at once,
because each one costs a minute. If the test passes, the next failure counts as a refusal of the width, until a range as
wide is answered; if not, the slice stays as it was. The limit is learnt for all slices once two that do not overlap
have failed: a single one may hold a day that the server cannot answer.

Invariant: every day of the first slice is answered once, or is in exactly one failed slice, or in the current period,
or after the last day served.
What is refused for one reason takes a number of requests that grows with the logarithm of the days, not with them.

Rejected: cutting the waiting slices on a mere suspicion (a phone that is always refused would cut all others to days,
each searched by itself), halving both ways (a request per day), relying on the message (only "Invalid start
parameter." is known), a permanent width limit (one bad day would slow all years).
"""

from dataclasses import replace
from datetime import date

from harvester.core.coverage import Span
from harvester.core.end_search import after_probe_passed, after_probe_refused, ask_newest_period
from harvester.core.model import Slice
from harvester.core.period import ONE_DAY, Calendar
from harvester.core.planning import cut
from harvester.core.range_limits import (
    NextStep,
    RangeLimitTracker,
    Task,
    is_single_period,
    middle_of,
    without_search,
)


def apply_limits(
    task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar, today: date, now: float
) -> tuple[Task, ...]:
    """Return the task as it may be sent now: without days that are not served yet, cut to the allowed width.

    The first is to be sent, the others wait. The result is empty if nothing is left.
    """
    series = task.slice.series
    last_served = _last_served(task, limit_tracker, calendar, today, now)
    if last_served is not None and task.whole.last > last_served:
        whole = without_search(task).slice
        if task.step or last_served < task.slice.first:  # a search for what is known now, or for nothing
            if last_served < whole.first:
                return ()
            task = Task(replace(whole, last=last_served), refused_before=task.refused_before, end_tried=task.end_tried)
        elif task.slice.last > last_served:
            task = replace(task, slice=replace(task.slice, last=last_served))
    elif task.is_search and not task.end_tried and not task.passed_width:
        hint = _end_to_try(task.whole, limit_tracker, calendar, today)
        if hint is not None and task.whole.first <= hint < task.whole.last:
            return (_without_newest(without_search(task), hint),)
    if task.older is not None or task.newer is not None:
        return (task,)
    newer, *older = _split_at_start(task, limit_tracker, calendar)
    piece, allowed = newer.slice, limit_tracker.allowed(now)
    if newer.older is not None or piece.days <= allowed:
        return (newer, *older)
    spans = cut([Span(piece.first, piece.last)], series.period, calendar, allowed)
    return (*(Task(Slice(series, *span), refused_before=task.refused_before) for span in spans), *older)


def _last_served(
    task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar, today: date, now: float
) -> date | None:
    """Return the last day, of a whole period, that may be asked for; None if all may be."""
    series = task.slice.series
    last = limit_tracker.last_served(series.phone, today, now)
    ends = [] if last is None else [calendar.floor(series.period, last + ONE_DAY) - ONE_DAY]
    if limit_tracker.accepts_today is False:
        ends.append(calendar.floor(series.period, today) - ONE_DAY)
    return min(ends, default=None)


def _end_to_try(piece: Slice, limit_tracker: RangeLimitTracker, calendar: Calendar, today: date) -> date | None:
    """Return the last day of the last whole period that was served to another phone, or the day before."""
    last = limit_tracker.end_to_try(today)
    return None if last is None else calendar.floor(piece.series.period, last + ONE_DAY) - ONE_DAY


def _without_newest(task: Task, last: date) -> Task:
    """Return the task without the days after `last`, to see whether they are the reason of the refusal."""
    return replace(task, slice=replace(task.slice, last=last), excluded_last=task.slice.last, end_tried=True)


def _split_at_start(task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar) -> tuple[Task, ...]:
    """Return the task in two where the figures of another phone began: what is older is asked for one period first."""
    piece, begin = task.slice, limit_tracker.limits.first_served
    if begin is None or piece.first >= begin or task.refused_before or task.excluded_last is not None:
        return (task,)
    last = min(piece.last, begin - ONE_DAY)
    alone = calendar.floor(piece.series.period, last)
    beyond = Span(piece.first, alone - ONE_DAY) if alone > piece.first else None
    older = Task(replace(piece, first=alone, last=last), beyond, passed_width=1)  # what is newer has passed before
    return (older,) if last == piece.last else (replace(task, slice=replace(piece, first=begin)), older)


def split_newest_period(task: Task, calendar: Calendar) -> tuple[Task, ...]:
    """Return the task as a probe that costs the server little, its newest period, and a task for what it leaves.

    A search begins again after it.
    """
    if is_single_period(task, calendar):
        return (task,)
    piece = without_search(task).slice
    first = calendar.floor(piece.series.period, piece.last)
    return (Task(replace(piece, first=first)), Task(replace(piece, last=first - ONE_DAY)))


def make_narrow_test(task: Task, calendar: Calendar) -> Task | None:
    """Return a test of a narrow range: the task's newest period, with the others waiting. None if there is none."""
    if task.older is not None or task.excluded_last is not None:
        return None
    newest, *older = split_newest_period(task, calendar)
    return replace(newest, older=Span(task.slice.first, older[0].slice.last), is_test=True) if older else None


def after_acceptance(
    task: Task,
    limit_tracker: RangeLimitTracker,
    calendar: Calendar,
    today: date,
    now: float,
    *,
    perhaps_cut: bool = False,
) -> NextStep:
    """Return what to ask after the task's slice was answered; an answer that is `perhaps_cut` proves no width."""
    piece, older = task.slice, task.older
    passed = max(task.passed_width, piece.days)
    _record_ends(task, limit_tracker, calendar, today, now)
    learnt = not task.failed_width or limit_tracker.width_is_confirmed
    if not perhaps_cut:
        limit_tracker.record_accepted(piece.days)
    if task.is_test:
        limit_tracker.record_narrow_accepted(task.whole.days)
    if task.refused_starts_through is None and task.refused_width > passed and learnt:
        limit_tracker.record_refused(task.refused_width, passed, now)
    if task.step:
        return after_probe_passed(task, limit_tracker, calendar, today, now)
    if older is None:
        return NextStep()
    if task.refused_starts_through is None:
        return NextStep((Task(Slice(piece.series, older.first, older.last)),))
    searched = replace(task, passed_width=passed, excluded_last=None)
    if task.refused_starts_through < older.last:
        return NextStep((_bisect(searched, older, calendar),))
    # The boundary: does the narrowest range that begins with the newest refused start pass?
    alone = calendar.floor(piece.series.period, older.last)
    beyond = Span(older.first, alone - ONE_DAY) if alone > older.first else None
    boundary = Slice(piece.series, alone, older.last)
    return NextStep((replace(searched, slice=boundary, older=beyond, refused_starts_through=None),))


def _record_ends(task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar, today: date, now: float) -> None:
    """Record what an answer shows of the first and the last day that the server serves."""
    piece = task.slice
    if task.excluded_last is not None and task.end_tried:
        limit_tracker.record_end(piece.last, piece.series.phone, today, now)
    elif task.excluded_last is not None:
        limit_tracker.accepts_today = False
    elif piece.last >= calendar.floor(piece.series.period, today):
        limit_tracker.accepts_today = True
    limit_tracker.record_answered(piece, today)


def after_refusal(
    task: Task, named: frozenset[str], limit_tracker: RangeLimitTracker, calendar: Calendar, today: date, now: float
) -> NextStep:
    """Return what to ask, or what to give up, after the task's slice was refused."""
    if "phone" in named:
        return NextStep(failed=task.whole)
    if task.step:
        return after_probe_refused(task, limit_tracker, calendar, today, now)
    piece, excluded = task.slice, None
    if task.excluded_last is not None:  # it was refused without the newest days as well
        excluded = Span(piece.last + ONE_DAY, task.excluded_last)
        piece = replace(piece, last=task.excluded_last)
    elif (shorter := _without_refused_end(task, named, limit_tracker, calendar, today, now)) is not None:
        return shorter
    searched = task
    task = replace(task, slice=piece, excluded_last=None, today_tried=task.today_tried or excluded is not None)
    newest = calendar.floor(piece.series.period, searched.slice.last)
    if not task.refused_before and not task.passed_width and limit_tracker.may_end_later(newest):
        if is_single_period(task, calendar) and task.older is not None:
            probe = ask_newest_period(task, calendar, excluded=None)
            return after_probe_refused(probe, limit_tracker, calendar, today, now)
        if "end" in named and not is_single_period(task, calendar) and task.older is None:
            return NextStep((ask_newest_period(searched, calendar, excluded=excluded),))
    return _search_width_and_start(task, named, limit_tracker, calendar)


def _search_width_and_start(
    task: Task, named: frozenset[str], limit_tracker: RangeLimitTracker, calendar: Calendar
) -> NextStep:
    """Return what to ask, or what to give up, after a refusal whose reason is not the end."""
    piece = task.slice
    if task.refused_before or is_single_period(task, calendar):  # searched already, or cannot be cut further
        limit_tracker.clear_suspicion()
        if task.passed_width:  # what is newer has passed
            limit_tracker.record_start(piece.last + ONE_DAY)
        return NextStep(failed=task.whole)
    first = task.older.first if task.older else piece.first
    task = replace(task, refused_width=piece.days, failed_width=False)
    if "start" not in named and task.refused_starts_through is None and limit_tracker.may_be_too_wide(piece.days):
        return NextStep((_halve(task, calendar),))
    task = replace(task, refused_starts_through=calendar.last(piece.series.period, piece.first))
    return NextStep((_bisect(task, Span(first, piece.last), calendar),))


def _without_refused_end(
    task: Task, named: frozenset[str], limit_tracker: RangeLimitTracker, calendar: Calendar, today: date, now: float
) -> NextStep | None:
    """Return what to ask if the newest days may be the reason: what is known of them, or the current period."""
    piece = task.slice
    known = _end_to_try(piece, limit_tracker, calendar, today)
    if known is not None and known < piece.last and not task.end_tried:
        if piece.first <= known:
            return NextStep((_without_newest(task, known),))
        if task.older is None:  # nothing of it was served the last time
            limit_tracker.record_end(known, piece.series.phone, today, now)
            return NextStep()
    current = calendar.floor(piece.series.period, today)
    untried = limit_tracker.accepts_today is None and not task.today_tried and "start" not in named
    if piece.last >= current > piece.first and untried:
        return NextStep((replace(task, slice=replace(piece, last=current - ONE_DAY), excluded_last=piece.last),))
    return None


def after_failure(task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar) -> NextStep:
    """Return what to ask after a failure whose reason is the width: the newer half, or give a single period up."""
    if is_single_period(task, calendar):
        limit_tracker.clear_suspicion()
        return NextStep(failed=task.whole)
    narrower = replace(task, refused_width=task.slice.days, failed_width=True, excluded_last=None)
    return NextStep((_halve(narrower, calendar),))


def _halve(task: Task, calendar: Calendar) -> Task:
    """Return the task for the newer half of the slice; the older half joins the older days."""
    piece = task.slice
    middle = middle_of(Span(piece.first, piece.last), piece.series.period, calendar)
    first = task.older.first if task.older else piece.first
    return replace(task, slice=replace(piece, first=middle), older=Span(first, middle - ONE_DAY))


def _bisect(task: Task, days: Span, calendar: Calendar) -> Task:
    """Return the task for the newer half of what lies between the refused starts and the end of `days`."""
    unknown = (task.refused_starts_through or days.first) + ONE_DAY
    middle = middle_of(Span(unknown, days.last), task.slice.series.period, calendar)
    piece = replace(task.slice, first=middle, last=days.last)
    return replace(task, slice=piece, older=Span(days.first, middle - ONE_DAY))
