"""Local days, weeks and months of an account, and the instants at which they begin.

VoiceTrends keys a figure by the first instant of its period in a zone of its own. Only this module converts such an
instant to a date or back, so only this module deals with daylight saving.

Invariants, each a property in tests/unit/core/test_period.py:
- `midnight(day)` is the first instant whose local date is `day`: the first instant after the gap where the clock skips
  midnight, the first of the two where midnight comes twice.
- Days follow each other without gap or overlap: midnight(day) < midnight(day + 1). A day that the zone skips whole
  (Samoa, 2011-12-30) does not exist: `starts` omits it.
- Weeks and months are whole days: `floor` is their first day, `following` the first day of the next one.

Rejected: epochs with days of 86,400 s (wrong twice a year), a calendar library (the standard one has all rules needed).
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)
_DECEMBER = 12


class Period(StrEnum):
    """The length of the time that one figure covers."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class WeekStart(StrEnum):
    """The day on which a week begins."""

    SUNDAY = "sunday"
    MONDAY = "monday"


@dataclass(frozen=True, slots=True)
class Calendar:
    """The zone in which days begin, and the day on which weeks begin."""

    zone: ZoneInfo
    week_start: WeekStart = WeekStart.SUNDAY

    def midnight(self, day: date) -> int:
        """Return the first instant of a local day, in epoch seconds."""
        return _midnight(self.zone, day)

    def local_date(self, instant: float) -> date:
        """Return the local day that holds an instant (epoch seconds)."""
        return datetime.fromtimestamp(instant, self.zone).date()

    def floor(self, period: Period, day: date) -> date:
        """Return the first day of the period that holds `day`."""
        if period is Period.DAY:
            return day
        if period is Period.MONTH:
            return day.replace(day=1)
        shift = 1 if self.week_start is WeekStart.SUNDAY else 0
        return day - timedelta(days=(day.weekday() + shift) % 7)

    def following(self, period: Period, first: date) -> date:
        """Return the first day after the period that begins on `first`, which is its end, excluded."""
        if period is Period.DAY:
            return first + ONE_DAY
        if period is Period.WEEK:
            return first + timedelta(days=7)
        if first.month == _DECEMBER:
            return date(first.year + 1, 1, 1)
        return date(first.year, first.month + 1, 1)

    def last(self, period: Period, day: date) -> date:
        """Return the last day of the period that holds `day`."""
        return self.following(period, self.floor(period, day)) - ONE_DAY

    def starts(self, period: Period, first: date, last: date) -> Iterator[date]:
        """Yield the first days of the periods that begin within [first, last], without days that the zone skips."""
        day = self.floor(period, first)
        if day < first:
            day = self.following(period, day)
        while day <= last:
            if period is not Period.DAY or self.local_date(self.midnight(day)) == day:
                yield day
            day = self.following(period, day)

    def grid(self, period: Period, first: date, last: date) -> dict[int, date]:
        """Return the periods that begin within [first, last]: epoch second of the first instant -> first day."""
        return {self.midnight(day): day for day in self.starts(period, first, last)}


@lru_cache(maxsize=65536)
def _midnight(zone: ZoneInfo, day: date) -> int:
    before, after = (int(datetime(day.year, day.month, day.day, fold=fold, tzinfo=zone).timestamp()) for fold in (0, 1))
    if before <= after:  # an ordinary midnight, or the first of two
        return before
    # Midnight falls into a gap: the offset after the gap gives an instant before it, the offset before one after it.
    gap = range(after, before)
    return after + bisect_left(gap, day, key=lambda instant: datetime.fromtimestamp(instant, zone).date())
