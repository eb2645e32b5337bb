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
What an earlier run gave up after such a search is asked for once and not searched again; neither are the other slices
of a series of which not even the newest period was accepted. After a day, a range wider than the refused one is tried.

A server, or a proxy before it, may also fail on a range that is too wide: 5xx, no answer in time, a closed connection,
a cut or unusable body, a web page. This differs from an outage only in that narrower ranges pass. So after
`FAILURES_BEFORE_TEST` failures in a row, over all slices, without an answer to a range as wide in between, one of these
slices is tested by its newest period alone; a time-out of a range wider than any accepted before is tested at once,
because each one costs a minute. If the test passes, the next failure counts as a refusal of the width, until a range as
wide is answered; if not, the slice stays as it was. The limit is learnt for all slices once two that do not overlap
have failed: a single one may hold a day that the server cannot answer.

Invariant: every day of the first slice is answered once, or is in exactly one failed slice, or in the current period.
What is refused for one reason takes a number of requests that grows with the logarithm of the days, not with them.

Rejected: cutting the waiting slices on a mere suspicion (a phone that is always refused would cut all others to days,
each searched by itself), halving both ways (a request per day), relying on the message (only "Invalid start
parameter." is known), a permanent width limit (one bad day would slow all years).
"""

from dataclasses import dataclass, replace
from datetime import date

from harvester.core.coverage import Span
from harvester.core.model import RangeLimits, Slice
from harvester.core.period import ONE_DAY, Calendar, Period
from harvester.core.planning import cut

WIDER_AGAIN_AFTER = 86_400  # seconds
FAILURES_BEFORE_TEST = 5  # in a row, after which the width may be the reason: the attempts that one slice has


@dataclass(frozen=True, slots=True)
class Task:
    """A slice to be asked for, and the older days that wait for its answer."""

    slice: Slice
    older: Span | None = None
    refused_starts_through: date | None = None  # no range may begin on older.first .. refused_starts_through
    refused_width: int = 0  # days of the narrowest range refused in this search
    passed_width: int = 0  # days of the widest range answered in this search
    excluded_last: date | None = None  # last day of the current period, excluded to see whether it is the reason
    refused_before: bool = False  # in an earlier run, which has searched it
    failed_width: bool = False  # refused_width is that of a failure, not of a refusal
    edge_of: int = 0  # days of the answer that lacked this slice at its edge; the slice is asked for alone
    is_test: bool = False  # a single period of a slice that failed, to see whether a narrow range passes

    @property
    def whole(self) -> Slice:
        """The slice with its older days: they fail together."""
        return self.slice if self.older is None else replace(self.slice, first=self.older.first)


@dataclass(frozen=True, slots=True)
class NextStep:
    """Tasks to ask next, and the slice that is given up."""

    tasks: tuple[Task, ...] = ()
    failed: Slice | None = None


class RangeLimitTracker:
    """Ranges that the server accepts for one account and resource, as far as its answers have shown.

    `limits` is worth storing; `accepts_today` is known to this process alone.
    """

    def __init__(self, limits: RangeLimits, max_days: int) -> None:
        self.limits = limits
        self.accepts_today: bool | None = None
        self.wide_ranges_fail = False  # a narrow range passed while wide ones failed
        self._max_days = max_days
        self._failing_days: int | None = None  # narrowest range that failed
        self._failures_in_a_row = 0
        self._failed: list[Slice] = []  # that do not overlap: two are enough

    def allowed(self, now: float) -> int:
        """Return the days per request at `now` (epoch seconds)."""
        limits, allowed = self.limits, self._max_days
        if limits.refused is not None and now - (limits.refused_at or 0) < WIDER_AGAIN_AFTER:
            allowed = min(allowed, limits.accepted or limits.refused // 2)
        return max(allowed, 1)

    def may_be_too_wide(self, days: int) -> bool:
        """Return True if no range that wide was accepted before."""
        return self.limits.accepted is None or days > self.limits.accepted

    def record_accepted(self, days: int) -> None:
        """Record that a range of `days` days was answered."""
        if self.limits.refused is not None and days >= self.limits.refused:
            self.limits = RangeLimits(days)
        elif self.limits.accepted is None or days > self.limits.accepted:
            self.limits = replace(self.limits, accepted=days)
        if self._failing_days is not None and days >= self._failing_days:
            self.clear_suspicion()

    def fails_for_width(self, days: int) -> bool:
        """Return True if narrow ranges pass, and no range of `days` days did since wide ones began to fail."""
        return self.wide_ranges_fail and (self.limits.refused is None or days >= self.limits.refused)

    def record_failure(self, task: Task) -> None:
        """Record that a range failed whose width may be the reason."""
        days, whole = task.slice.days, task.whole
        self._failing_days = min(self._failing_days or days, days)
        self._failures_in_a_row += 1
        if not any(_overlap(whole, other) for other in self._failed):
            self._failed = [*self._failed[:1], whole]

    @property
    def test_is_due(self) -> bool:
        """True if so many ranges have failed that a narrow one should be tested."""
        return self._failures_in_a_row >= FAILURES_BEFORE_TEST

    @property
    def width_is_confirmed(self) -> bool:
        """True if two slices that do not overlap have failed, so that a day of one of them is not the reason."""
        return len(self._failed) > 1

    def record_test(self) -> None:
        """Record that a test begins: failures are counted from the beginning."""
        self._failures_in_a_row = 0

    def record_probe_accepted(self) -> None:
        """Record that a single period passed after an outage: if a wide range fails again, that is tested at once."""
        if self._failing_days is not None:
            self._failures_in_a_row = FAILURES_BEFORE_TEST

    def record_narrow_accepted(self, wide: int) -> None:
        """Record that one period of a range of `wide` days passed, after that range failed."""
        self.wide_ranges_fail = True
        self._failing_days = min(self._failing_days or wide, wide)

    def record_refused(self, refused: int, passed: int, now: float) -> None:
        """Record that `refused` days were refused for their width, while `passed` days inside were answered."""
        accepted = self.limits.accepted
        if accepted is None or accepted >= refused:  # it was accepted once: the server has become stricter
            accepted = passed
        self.limits = RangeLimits(max(accepted, passed), refused, int(now))
        self.clear_suspicion()

    def clear_suspicion(self) -> None:
        """Forget the failures of wide ranges: they had another reason, or wide ranges pass."""
        self.wide_ranges_fail, self._failing_days, self._failures_in_a_row = False, None, 0
        self._failed.clear()


def apply_limits(
    task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar, today: date, now: float
) -> tuple[Task, ...]:
    """Return the task as it may be sent now: cut to the allowed width, newest first, without a refused current period.

    The first is to be sent, the others wait. The result is empty if only the refused current period would be left.
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
    if task.excluded_last is not None:
        limit_tracker.accepts_today = False
    elif piece.last >= calendar.floor(piece.series.period, today):
        limit_tracker.accepts_today = True
    learnt = not task.failed_width or limit_tracker.width_is_confirmed
    if not perhaps_cut:
        limit_tracker.record_accepted(piece.days)
    if task.is_test:
        limit_tracker.record_narrow_accepted(task.whole.days)
    if task.refused_starts_through is None and task.refused_width > passed and learnt:
        limit_tracker.record_refused(task.refused_width, passed, now)
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


def after_refusal(
    task: Task, named: frozenset[str], limit_tracker: RangeLimitTracker, calendar: Calendar, today: date
) -> NextStep:
    """Return what to ask, or what to give up, after the task's slice was refused."""
    piece, period = task.slice, task.slice.series.period
    current = calendar.floor(period, today)
    if "phone" in named:
        return NextStep(failed=task.whole)
    if task.excluded_last is not None:  # it was refused without the current period as well
        piece = replace(piece, last=task.excluded_last)
        task = replace(task, slice=piece, excluded_last=None)
    elif piece.last >= current > piece.first and limit_tracker.accepts_today is None and "start" not in named:
        return NextStep((replace(task, slice=replace(piece, last=current - ONE_DAY), excluded_last=piece.last),))
    if task.refused_before or is_single_period(task, calendar):  # searched already, or a single period
        limit_tracker.clear_suspicion()
        return NextStep(failed=task.whole)
    first = task.older.first if task.older else piece.first
    task = replace(task, refused_width=piece.days, failed_width=False)
    if "start" not in named and task.refused_starts_through is None and limit_tracker.may_be_too_wide(piece.days):
        return NextStep((_halve(task, calendar),))
    task = replace(task, refused_starts_through=calendar.last(period, piece.first))
    return NextStep((_bisect(task, Span(first, piece.last), calendar),))


def after_failure(task: Task, limit_tracker: RangeLimitTracker, calendar: Calendar) -> NextStep:
    """Return what to ask after a failure whose reason is the width: the newer half, or give a single period up."""
    if is_single_period(task, calendar):
        limit_tracker.clear_suspicion()
        return NextStep(failed=task.whole)
    narrower = replace(task, refused_width=task.slice.days, failed_width=True, excluded_last=None)
    return NextStep((_halve(narrower, calendar),))


def without_search(task: Task) -> Task:
    """Return the task as it was before a search for the reason of a failure or a refusal began."""
    last = task.excluded_last or task.slice.last
    return Task(replace(task.whole, last=last), refused_before=task.refused_before)


def is_single_period(task: Task, calendar: Calendar) -> bool:
    """Return True if the task's slice cannot be cut further."""
    return calendar.last(task.slice.series.period, task.slice.first) >= task.slice.last


def _overlap(one: Slice, other: Slice) -> bool:
    return one.series == other.series and one.first <= other.last and other.first <= one.last


def _halve(task: Task, calendar: Calendar) -> Task:
    """Return the task for the newer half of the slice; the older half joins the older days."""
    piece = task.slice
    middle = _middle(Span(piece.first, piece.last), piece.series.period, calendar)
    first = task.older.first if task.older else piece.first
    return replace(task, slice=replace(piece, first=middle), older=Span(first, middle - ONE_DAY))


def _bisect(task: Task, days: Span, calendar: Calendar) -> Task:
    """Return the task for the newer half of what lies between the refused starts and the end of `days`."""
    unknown = (task.refused_starts_through or days.first) + ONE_DAY
    middle = _middle(Span(unknown, days.last), task.slice.series.period, calendar)
    piece = replace(task.slice, first=middle, last=days.last)
    return replace(task, slice=piece, older=Span(days.first, middle - ONE_DAY))


def _middle(days: Span, period: Period, calendar: Calendar) -> date:
    """Return the first day of the newer half, which is not the shorter one; of a single period its first day."""
    half = days.first + ((days.last - days.first) + ONE_DAY) // 2
    middle = calendar.floor(period, half)
    if middle > days.first:
        return middle
    following = calendar.following(period, days.first)
    return following if following <= days.last else days.first
