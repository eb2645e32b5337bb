"""What one answer says of the server's calendar, and what to ask for so that it says most.

`normalize` judges whether an answer agrees with the configured calendar. Here the question is the other way round:
which calendars agree with the answer? Weeks are asked for, because a week's key tells two things: the instant at which
a day begins, and on which weekday a week does.

A few weeks in one season cannot tell New York from a fixed UTC-5, and the wrong one of the two is an hour off for half
of every year. So the weeks are laid around the newest change to or from daylight saving that lies far enough back. They
are few, and all over: a width that the server refuses, or a week that still goes on, would tell nothing.

Where the server's weeks begin on another day than ours, the range begins inside one of them. Its key may then be the
range's first day, so the first key says nothing about weekdays, if there are others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from harvester.core.calendar_check import ZONES
from harvester.core.metric_catalogue import known_metrics
from harvester.core.normalize import normalize
from harvester.core.period import ONE_DAY, Calendar, Period, WeekStart
from harvester.errors import CalendarMismatch

if TYPE_CHECKING:
    from harvester.core.model import Page

WEEKS = 4  # two on each side of a change of the clocks

_WEEK = timedelta(days=7)
_LONGEST_LOOK = 400  # days; a zone that changes its clocks did so within the last year
_NAMED = 3  # zones that a message names
_DIGITS = 10  # of an epoch second
_DAY = 86_400  # seconds
_SUNDAY, _MONDAY = 6, 0


class CalendarCandidate(NamedTuple):
    """A calendar that an answer agrees with. `week_start` is None where no setting fits, or nothing tells."""

    zone: str
    week_start: WeekStart | None


def weeks_to_probe(calendar: Calendar, today: date, most_days: int) -> tuple[date, date]:
    """The first and last day of the past whole weeks to ask for.

    Args:
        calendar: as configured; the weeks are whole in it.
        today: in its zone.
        most_days: the widest range to ask for; a single week is asked for in any case.
    """
    count = max(1, min(WEEKS, most_days // _WEEK.days))
    before = _WEEK if count >= WEEKS - 1 else timedelta(0)
    length = count * _WEEK
    newest = calendar.floor(Period.WEEK, today) - length
    for zone in (calendar.zone, ZoneInfo(ZONES[0])):
        for day in _changes(Calendar(zone), today):
            first = calendar.floor(Period.WEEK, day) - before
            if first <= newest:
                return first, first + length - ONE_DAY
    return newest, newest + length - ONE_DAY


def detect_calendars(instants: Iterable[int], configured: Calendar) -> list[CalendarCandidate]:
    """The calendars in which each instant begins a day: the configured zone first, then by plausibility.

    Args:
        instants: the epoch seconds with which an answer keys its weeks.
        configured: tried before all others.
    """
    keys = sorted(set(instants))
    if not keys:
        return []
    found = []
    for name in dict.fromkeys((configured.zone.key, *ZONES)):
        calendar = _calendar(name)
        if calendar is None:
            continue
        days = [calendar.local_date(key) for key in keys]
        if all(calendar.midnight(day) == key for day, key in zip(days, keys, strict=True)):
            found.append(CalendarCandidate(name, _week_start(days)))
    return found


class Detection(NamedTuple):
    """What an answer shows, in words; `mismatch` if it is not what is configured."""

    text: str
    mismatch: CalendarMismatch | None = None


def compare_calendar(page: Page, configured: Calendar, *, weeks_matter: bool = True) -> Detection:
    """Tell which calendars an answer fits.

    Args:
        page: an answer to `weeks_to_probe`.
        configured: what it should fit.
        weeks_matter: whether a wrong `week_start` does any harm; else it is only told.

    Raises:
        PayloadError: it is no answer to its slice.
    """
    ours: CalendarMismatch | None = None
    try:
        normalize(page, configured)
    except CalendarMismatch as error:
        ours = error
    instants = _instants(page)
    if not instants:
        return Detection("the answer holds no weeks, so zone and week cannot be told")
    fits = detect_calendars(instants, configured)
    if not fits and ours is None:
        return Detection("the answer fits what is configured, but for a stray timestamp")
    if not fits:
        return Detection("the answer fits no zone that was tried", ours)
    best = fits[0]
    zones = " or ".join(fit.zone for fit in fits[:_NAMED])
    seen = f"the answer fits {zones}, " + (f"weeks from {best.week_start}" if best.week_start else "but no week_start")
    wrong = _wrong(best, configured, weeks_matter=weeks_matter)
    if not wrong:
        return Detection(seen)
    mend = " and ".join(f'{setting} = "{value}"' for setting, value in wrong.items() if value)
    detail = f"{seen}; set {mend}" if mend else seen
    setting = next(iter(wrong))
    return Detection(seen, CalendarMismatch(detail, setting=setting, fits=wrong[setting]))


def _wrong(best: CalendarCandidate, configured: Calendar, *, weeks_matter: bool) -> dict[str, str | None]:
    """The settings that the answer contradicts, each with the value that it fits."""
    wrong: dict[str, str | None] = {}
    if best.zone != configured.zone.key:
        wrong["timezone"] = best.zone
    if weeks_matter and best.week_start is not configured.week_start:
        wrong["week_start"] = best.week_start
    return wrong


def _instants(page: Page) -> set[int]:
    known = known_metrics(page.slice.series.resource)
    return {
        int(text)
        for name, entries in page.metrics.items()
        if name in known
        for text, _ in entries
        if text.isascii() and text.isdigit() and len(text) <= _DIGITS
    }


def _changes(calendar: Calendar, today: date) -> Iterator[date]:
    """The days of other than 24 hours, newest first."""
    for ago in range(1, _LONGEST_LOOK):
        day = today - timedelta(days=ago)
        if calendar.midnight(day + ONE_DAY) - calendar.midnight(day) != _DAY:
            yield day


def _calendar(name: str | None) -> Calendar | None:
    try:
        return Calendar(ZoneInfo(name)) if name else None
    except ZoneInfoNotFoundError:
        return None


def _week_start(days: list[date]) -> WeekStart | None:
    weekdays = {day.weekday() for day in days[1:] or days}
    if weekdays == {_SUNDAY}:
        return WeekStart.SUNDAY
    return WeekStart.MONDAY if weekdays == {_MONDAY} else None
