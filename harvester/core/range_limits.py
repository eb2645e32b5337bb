"""Range limits of one account, resource and period: widths, and the first and the last day that the server serves.

Widths: see core.refusal. The last day counts for all phones once two of them (or the only one) have shown it, for a
number may have ended by itself; after a day it is searched again, at first where it was. The first day is where the
search of the next phone begins, and decides nothing else.
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta

from harvester.core.coverage import Span
from harvester.core.model import RangeLimits, Slice
from harvester.core.period import ONE_DAY, Calendar, Period

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
    newer: Span | None = None  # days after the slice, refused or unknown, in a search for the last day served
    refused_from: date | None = None  # in such a search: no range may end on this day or later
    end_passed: bool = False  # in such a search: a period before `refused_from` was answered
    step: int = 0  # in such a search: periods to the next probe; 0 outside
    today_tried: bool = False  # it was refused without the current period, too
    end_tried: bool = False  # without the days that were not served to another phone, or to this one the day before
    edge_of: int = 0  # days of the answer that lacked this slice at its edge; the slice is asked for alone
    is_test: bool = False  # a single period of a slice that failed, to see whether a narrow range passes

    @property
    def is_search(self) -> bool:
        """True if the slice is a part of a range that was refused or failed."""
        return self.older is not None or self.newer is not None or self.excluded_last is not None

    @property
    def whole(self) -> Slice:
        """The slice with its older and newer days: they fail together."""
        first = self.slice.first if self.older is None else self.older.first
        return replace(self.slice, first=first, last=self.slice.last if self.newer is None else self.newer.last)


@dataclass(frozen=True, slots=True)
class NextStep:
    """Tasks to ask next, and the slice that is given up."""

    tasks: tuple[Task, ...] = ()
    failed: Slice | None = None


class RangeLimitTracker:
    """Ranges that the server accepts for one account, resource and period, as far as its answers have shown.

    `limits` is worth storing; the rest is known to this process alone.

    Args:
        limits: as stored.
        max_days: configured days per request.
        phones: of the account.
    """

    def __init__(self, limits: RangeLimits, max_days: int, phones: int = 2) -> None:
        self.limits = limits
        self.accepts_today: bool | None = None
        self.wide_ranges_fail = False  # a narrow range passed while wide ones failed
        self.all_ends_refused = False  # a search for the last day served was in vain, and nothing was answered since
        self._newest_accepted = date.min
        self._phones_of_lag: dict[str, float] = {}  # those that showed the present lag, and when (epoch seconds)
        self._enough_phones = min(2, phones)
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

    def last_served(self, phone: str, today: date, now: float) -> date | None:
        """Return the last day that may be asked for at `now` (epoch seconds); None if all days may be."""
        found = [self._phones_of_lag.get(phone), self.limits.lag_at]
        fresh = any(at is not None and 0 <= now - at < WIDER_AGAIN_AFTER for at in found)
        return self.end_to_try(today) if fresh else None

    def end_to_try(self, today: date) -> date | None:
        """Return the last day served as it was found before, for another phone perhaps; None if none was."""
        return None if self.limits.lag is None else today - timedelta(days=self.limits.lag)

    def may_end_later(self, day: date) -> bool:
        """Return True if the server may not serve `day` yet."""
        return day > self._newest_accepted and not self.all_ends_refused

    def record_end(self, last: date, phone: str, today: date, now: float) -> None:
        """Record that `last` was the last day served to `phone`."""
        lag = (today - last).days
        if lag != self.limits.lag:
            self._phones_of_lag.clear()
        self._phones_of_lag[phone] = now
        confirmed = len(self._phones_of_lag) >= self._enough_phones
        self.limits = replace(self.limits, lag=lag, lag_at=int(now) if confirmed else None)

    def record_start(self, first: date) -> None:
        """Record that the figures of one phone begin on this day."""
        self.limits = replace(self.limits, first_served=first)

    def record_accepted(self, days: int) -> None:
        """Record that a range of `days` days was answered."""
        limits = self.limits
        if limits.refused is not None and days >= limits.refused:
            self.limits = replace(limits, accepted=days, refused=None, refused_at=None)
        elif limits.accepted is None or days > limits.accepted:
            self.limits = replace(limits, accepted=days)
        if self._failing_days is not None and days >= self._failing_days:
            self.clear_suspicion()

    def record_answered(self, piece: Slice, today: date) -> None:
        """Record that ranges may begin and end as `piece` does."""
        limits = self.limits
        self._newest_accepted = max(self._newest_accepted, piece.last)
        self.all_ends_refused = False
        if limits.first_served is not None and piece.first < limits.first_served:
            limits = replace(limits, first_served=None)
        if limits.lag is not None and piece.last > today - timedelta(days=limits.lag):
            limits = replace(limits, lag=None, lag_at=None)
        self.limits = limits

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
        accepted = max(accepted, passed)
        self.limits = replace(self.limits, accepted=accepted, refused=refused, refused_at=int(now))
        self.clear_suspicion()

    def clear_suspicion(self) -> None:
        """Forget the failures of wide ranges: they had another reason, or wide ranges pass."""
        self.wide_ranges_fail, self._failing_days, self._failures_in_a_row = False, None, 0
        self._failed.clear()


def last_served_to_all(limits: RangeLimits, today: date, now: float) -> date | None:
    """Return the last day that is served to any phone, if it was found less than a day before `now` (epoch seconds)."""
    if limits.lag is None or limits.lag_at is None or not 0 <= now - limits.lag_at < WIDER_AGAIN_AFTER:
        return None
    return today - timedelta(days=limits.lag)


def without_search(task: Task) -> Task:
    """Return the task as it was before a search for the reason of a failure or a refusal began."""
    last = task.excluded_last or task.whole.last
    return Task(replace(task.whole, last=last), refused_before=task.refused_before)


def is_single_period(task: Task, calendar: Calendar) -> bool:
    """Return True if the task's slice cannot be cut further."""
    return calendar.last(task.slice.series.period, task.slice.first) >= task.slice.last


def middle_of(days: Span, period: Period, calendar: Calendar) -> date:
    """Return the first day of the newer half of `days`, not the shorter one; of a single period its first day."""
    half = days.first + ((days.last - days.first) + ONE_DAY) // 2
    middle = calendar.floor(period, half)
    if middle > days.first:
        return middle
    following = calendar.following(period, days.first)
    return following if following <= days.last else days.first


def _overlap(one: Slice, other: Slice) -> bool:
    return one.series == other.series and one.first <= other.last and other.first <= one.last
