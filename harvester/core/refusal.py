"""What to ask next after the server refused a slice: which part of it is to blame is found by asking.

A refusal (400) rarely says why. It can be the width of the range, a start before the first data, a range that holds
today, or the phone. A Task is a slice on its way to an answer, with what is known of the older days behind it:

    oldest |-- bad --|------ gap ------|== slice ==| newest
           |------------ rest ---------|

The slice is asked for first, since newer data is worth more. `rest` is what was refused together with it. `bad` is
the part of the rest that cannot begin a range, as far as is known: a range beginning on its last day was refused while
width was not to blame.

Decided here, in this order (each a scenario in tests/unit/core/test_refusal.py):
1. A refusal that names the phone fails the slice and its rest, as one.
2. A slice that holds the current period is tried without it, unless it is that period alone or the server is known
   to take it. If that passes, the current period is left for another day; if not, it is put back.
3. Width is blamed only when wider than anything that was accepted before for that account and resource, and only
   once the newer half passed: then the rest is cut anew under what was learnt. So a refusal for another reason
   never narrows what others ask for.
4. Anything else, and any refusal that names `start`, is a start too far back: its boundary is found by bisection, and
   what is older fails as one slice. The period at the boundary is asked for alone before: if it passes, width was
   to blame after all.
What an earlier run gave up after such a search is asked for once, and not searched again; so are the other slices
of a series of which not even the newest period was taken.
A wider range than was refused is tried again after a day.

A server, or a proxy that waits for it, may also break (5xx) on a range that is too wide. Nothing tells that from an
outage but that narrower ranges pass. So after `BROKEN` such answers in a row, over all slices, to ranges wider than any
accepted before, one of these slices is tested by its newest period alone. If that passes, the next 5xx for such a
range is taken for a refusal of its width; if not, nothing was learnt, and the slice is as it was.

Invariant: every day of the first slice is answered once, or in exactly one failed slice, or in the current period;
what is refused for one reason takes a number of requests that grows with the logarithm of the days, not with them.

Rejected: cutting what waits on a mere suspicion (a phone that is always refused would cut all others to days, and each
piece would be searched by itself), halving both ways (it would cost a request a day), believing the text (nobody
knows the server's words but "Invalid start parameter."), a width learnt for good (one bad day would slow all years).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from harvester.core.coverage import Span
from harvester.core.model import RangeLimits, Slice
from harvester.core.period import ONE_DAY, Calendar, Period
from harvester.core.planning import cut

WIDER_AGAIN_AFTER = 86_400  # seconds
BROKEN = 5  # 5xx in a row that put the width in question: as many as a slice is tried


@dataclass(frozen=True, slots=True)
class Task:
    """A slice to be asked for, and the older days that wait for its answer."""

    slice: Slice
    older: Span | None = None
    refused_starts_through: date | None = None  # no range may begin on rest.first .. refused_starts_through
    refused_width: int = 0  # days of the narrowest range refused on the way here
    passed_width: int = 0  # days of the widest range answered on the way here
    excluded_last: date | None = None  # last day of the current period, left out to see whether it is to blame
    refused_before: bool = False  # in an earlier run, which searched it for what is to blame
    is_test: bool = False  # the slice is one period of a whole that broke, to see whether a narrow range passes

    @property
    def whole(self) -> Slice:
        """The slice and its rest: what fails if this fails."""
        return self.slice if self.older is None else replace(self.slice, first=self.older.first)


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to ask next, and what is given up."""

    tasks: tuple[Task, ...] = ()
    failed: Slice | None = None


class RangeLimitTracker:
    """What ranges the server takes for one account and resource, as far as its answers have shown.

    `widths` is worth remembering; whether the current period is taken lives in this process only.
    """

    def __init__(self, widths: RangeLimits, max_days: int) -> None:
        self.limits = widths
        self.accepts_today: bool | None = None
        self.wide_ranges_fail = False  # a narrow range passed while wide ones were answered 5xx
        self._max_days = max_days
        self._broken: int | None = None  # narrowest range that was answered 5xx
        self._broken_in_a_row = 0

    def allowed(self, now: float) -> int:
        """Days per request at present (`now`: epoch seconds)."""
        widths, allowed = self.limits, self._max_days
        if widths.refused is not None and now - (widths.refused_at or 0) < WIDER_AGAIN_AFTER:
            allowed = min(allowed, widths.accepted or widths.refused // 2)
        return max(allowed, 1)

    def may_be_too_wide(self, days: int) -> bool:
        """Whether nothing so wide was ever accepted."""
        return self.limits.accepted is None or days > self.limits.accepted

    def record_accepted(self, days: int) -> None:
        """A range of so many days was answered."""
        if self.limits.refused is not None and days >= self.limits.refused:
            self.limits = RangeLimits(days)
        elif self.limits.accepted is None or days > self.limits.accepted:
            self.limits = replace(self.limits, accepted=days)
        if self._broken is not None and days > self._broken // 2:
            self._whole_again()

    def record_server_error(self, days: int) -> bool:
        """A range wider than any accepted was answered 5xx. Returns whether it is time to test a narrow one."""
        self._broken = min(self._broken or days, days)
        self._broken_in_a_row += 1
        if self._broken_in_a_row < BROKEN:
            return False
        self._broken_in_a_row = 0
        return True

    def record_narrow_accepted(self, wide: int) -> None:
        """One period of a range of so many days passed, after that was answered 5xx."""
        self.wide_ranges_fail = True
        self._broken = min(self._broken or wide, wide)

    def clear_suspicion(self) -> None:
        """The refusal had another reason."""
        self._whole_again()

    def record_refused(self, refused: int, passed: int, now: float) -> None:
        """A range of `refused` days was refused for its width: one of `passed` days inside it was answered."""
        accepted = self.limits.accepted
        if accepted is None or accepted >= refused:  # it was taken once: the server has become stricter
            accepted = passed
        self.limits = RangeLimits(max(accepted, passed), refused, int(now))
        self._whole_again()

    def _whole_again(self) -> None:
        self.wide_ranges_fail, self._broken, self._broken_in_a_row = False, None, 0


def apply_limits(
    task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar, today: date, now: float
) -> tuple[Task, ...]:
    """The task as it may be sent now: cut to the width that is allowed, newest first, without a refused today.

    The first is to be sent, the others wait; nothing is left where the server is known to refuse today.
    """
    piece, period = task.slice, task.slice.series.period
    if limit_tracker.accepts_today is False and piece.last >= calendar.floor(period, today):
        last = calendar.floor(period, today) - ONE_DAY
        if last < piece.first:
            return () if task.older is None else (Task(Slice(piece.series, task.older.first, task.older.last)),)
        piece = replace(piece, last=last)
        task = replace(task, slice=piece)
    allowed = limit_tracker.allowed(now)
    if piece.days <= allowed or task.older is not None:
        return (task,)
    newest, *older = cut([Span(piece.first, piece.last)], period, calendar, allowed)
    return tuple(Task(Slice(piece.series, *span), refused_before=task.refused_before) for span in (newest, *older))


def split_newest_period(task: Task, calendar: Calendar) -> tuple[Task, ...]:
    """The task as a probe that costs the server little: its newest period, and what it leaves for later."""
    piece = task.slice
    first = calendar.floor(piece.series.period, piece.last)
    if task.older is not None or first <= piece.first:
        return (task,)
    return (Task(replace(piece, first=first)), Task(replace(piece, last=first - ONE_DAY)))


def make_narrow_test(task: Task, calendar: Calendar) -> Task | None:
    """The task as a test whether a narrow range passes: its newest period, the rest waiting. None if there is none."""
    piece = task.slice
    if task.older is not None or task.excluded_last is not None:
        return None
    narrow, *older = split_newest_period(task, calendar)
    return Task(narrow.slice, Span(piece.first, older[0].slice.last), is_test=True) if older else None


def after_acceptance(
    task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar, today: date, now: float
) -> NextStep:
    """The task's slice was answered: what about its rest?"""
    piece, rest = task.slice, task.older
    passed = max(task.passed_width, piece.days)
    if task.excluded_last is not None:
        limit_tracker.accepts_today = False
    elif piece.last >= calendar.floor(piece.series.period, today):
        limit_tracker.accepts_today = True
    limit_tracker.record_accepted(piece.days)
    if task.is_test:
        limit_tracker.record_narrow_accepted(task.whole.days)
    if task.refused_starts_through is None and task.refused_width > passed:
        limit_tracker.record_refused(task.refused_width, passed, now)
    if rest is None:
        return NextStep()
    if task.refused_starts_through is None:
        return NextStep((Task(Slice(piece.series, rest.first, rest.last)),))
    task = replace(task, passed_width=passed, excluded_last=None)
    if task.refused_starts_through is not None and task.refused_starts_through < rest.last:
        return NextStep((_bisected(task, rest, calendar),))
    # The boundary: does a range that begins with the newest bad period pass when it is as narrow as can be?
    alone = calendar.floor(piece.series.period, rest.last)
    older = Span(rest.first, alone - ONE_DAY) if alone > rest.first else None
    return NextStep(
        (replace(task, slice=Slice(piece.series, alone, rest.last), older=older, refused_starts_through=None),)
    )


def after_refusal(
    task: Task, named: frozenset[str], limit_tracker: RangeLimitTracker, calendar: Calendar, today: date
) -> NextStep:
    """The task's slice was refused: what to ask next, or what to give up."""
    piece, period = task.slice, task.slice.series.period
    current = calendar.floor(period, today)
    if "phone" in named:
        return NextStep(failed=task.whole)
    if task.excluded_last is not None:  # without the current period it was refused as well
        piece = replace(piece, last=task.excluded_last)
        task = replace(task, slice=piece, excluded_last=None)
    elif piece.last >= current > piece.first and limit_tracker.accepts_today is None and "start" not in named:
        return NextStep((replace(task, slice=replace(piece, last=current - ONE_DAY), excluded_last=piece.last),))
    if task.refused_before or calendar.last(period, piece.first) >= piece.last:  # searched already, or a single period
        limit_tracker.clear_suspicion()
        return NextStep(failed=task.whole)
    first = task.older.first if task.older else piece.first
    refused = replace(task, refused_width=piece.days)
    if "start" not in named and task.refused_starts_through is None and limit_tracker.may_be_too_wide(piece.days):
        return NextStep((_halved(refused, calendar),))
    refused = replace(refused, refused_starts_through=calendar.last(period, piece.first))
    return NextStep((_bisected(refused, Span(first, piece.last), calendar),))


def after_server_errors(task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar) -> NextStep:
    """The server failed on the slice in every try (500): blame the width while narrower ones pass, else give up."""
    piece = task.slice
    accepted = limit_tracker.limits.accepted
    one_period = calendar.last(piece.series.period, piece.first) >= piece.last
    if one_period:
        limit_tracker.clear_suspicion()
    if accepted is None or piece.days <= accepted or one_period:
        return NextStep(failed=task.whole)
    return NextStep((_halved(replace(task, refused_width=piece.days, excluded_last=None), calendar),))


def _halved(task: Task, calendar: Calendar) -> Task:
    """Ask for the newer half of the slice, while the older one joins the rest."""
    piece = task.slice
    middle = _middle(Span(piece.first, piece.last), piece.series.period, calendar)
    first = task.older.first if task.older else piece.first
    return replace(task, slice=replace(piece, first=middle), older=Span(first, middle - ONE_DAY))


def _bisected(task: Task, days: Span, calendar: Calendar) -> Task:
    """Ask for the newer half of what lies between the bad days and the end of `days`."""
    unknown = (task.refused_starts_through or days.first) + ONE_DAY
    middle = _middle(Span(unknown, days.last), task.slice.series.period, calendar)
    piece = replace(task.slice, first=middle, last=days.last)
    return replace(task, slice=piece, older=Span(days.first, middle - ONE_DAY))


def _middle(days: Span, period: Period, calendar: Calendar) -> date:
    """The first day of the newer half, which is not the shorter one; of a single period its first day."""
    half = days.first + ((days.last - days.first) + ONE_DAY) // 2
    middle = calendar.floor(period, half)
    if middle > days.first:
        return middle
    following = calendar.following(period, days.first)
    return following if following <= days.last else days.first
