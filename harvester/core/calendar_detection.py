"""Calendar detection: the range to ask for, and the calendars that its answer fits.

`calendar_check` decides whether an answer agrees with the configured calendar. This module finds all calendars that
agree with an answer. It asks for weeks, because the key of a week shows two things: the instant at which a day begins,
and the weekday on which a week begins.

A few weeks in one season cannot tell New York from a fixed UTC-5, and the wrong one of the two is an hour off for half
of every year. So the weeks lie around the newest change to or from daylight saving that is far enough back. They are
few, so that the server does not refuse the width, and all of them are over, because a current week shows nothing.

Where the server's weeks begin on another day than the configured ones, the range begins inside one of its weeks. That
week may then be keyed by the first day of the range, so the first key says nothing about weekdays if there are others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from harvester.core.calendar_check import ZONES, instant_of, matching_calendars
from harvester.core.metric_catalogue import known_metrics
from harvester.core.model import Page
from harvester.core.normalize import normalize
from harvester.core.period import ONE_DAY, Calendar, Period, WeekStart
from harvester.errors import CalendarMismatch

MAX_WEEKS = 4  # two on each side of a clock change

_WEEK = timedelta(days=7)
_SEARCHED_DAYS = 400  # a zone with daylight saving changed its clocks within the last year
_MAX_NAMED_ZONES = 3  # in a message
_ORDINARY_DAY = 86_400  # seconds
_SUNDAY, _MONDAY = 6, 0  # as date.weekday() counts


class CalendarCandidate(NamedTuple):
    """A calendar that an answer fits. `week_start` is None if no setting fits."""

    zone: str
    week_start: WeekStart | None


class Detection(NamedTuple):
    """Result of a comparison as text, with the error to raise if the answer contradicts the configuration."""

    text: str
    mismatch: CalendarMismatch | None = None


def weeks_to_probe(calendar: Calendar, today: date, max_days: int) -> tuple[date, date]:
    """Return the first and the last day of the past whole weeks to ask for.

    Args:
        calendar: as configured; the weeks are whole in it.
        today: in the calendar's zone.
        max_days: the widest range to ask for; a single week is asked for in any case.
    """
    count = max(1, min(MAX_WEEKS, max_days // _WEEK.days))
    before = _WEEK if count >= MAX_WEEKS - 1 else timedelta(0)
    length = count * _WEEK
    newest = calendar.floor(Period.WEEK, today) - length
    for zone in (calendar.zone, ZoneInfo(ZONES[0])):
        for day in _clock_changes(Calendar(zone), today):
            first = calendar.floor(Period.WEEK, day) - before
            if first <= newest:
                return first, first + length - ONE_DAY
    return newest, newest + length - ONE_DAY


def detect_calendars(instants: Iterable[int], configured: Calendar) -> list[CalendarCandidate]:
    """Return the calendars in which every instant begins a day: the configured zone first, then by plausibility.

    Args:
        instants: the epoch seconds by which an answer keys its weeks.
        configured: the calendar to try first.
    """
    keys = sorted(set(instants))
    matches = matching_calendars(keys, Period.DAY, configured) if keys else ()
    return [CalendarCandidate(each.zone.key, _week_start([each.local_date(key) for key in keys])) for each in matches]


def compare_calendar(page: Page, configured: Calendar, *, weeks_matter: bool = True) -> Detection:
    """Compare the calendars that an answer fits with the configured one.

    Args:
        page: an answer to `weeks_to_probe`.
        configured: the calendar that it should fit.
        weeks_matter: if False, a wrong `week_start` does no harm and is reported in the text alone.

    Raises:
        PayloadError: the page is no answer to its slice.
    """
    refused: CalendarMismatch | None = None
    try:
        normalize(page, configured)
    except CalendarMismatch as error:
        refused = error
    instants = _instants(page)
    if not instants:
        return Detection("the answer holds no weeks, so its zone and week start are unknown")
    fits = detect_calendars(instants, configured)
    if not fits and refused is None:
        return Detection("the answer fits the configuration, except for one stray timestamp")
    if not fits:
        return Detection("the answer fits no zone that was tried", refused)
    best = fits[0]
    zones = " or ".join(fit.zone for fit in fits[:_MAX_NAMED_ZONES])
    weeks = f"weeks from {best.week_start}" if best.week_start else "but no week_start"
    text = f"the answer fits {zones}, {weeks}"
    wrong = _wrong_settings(best, configured, weeks_matter=weeks_matter)
    if not wrong:
        return Detection(text)
    advice = " and ".join(f'{setting} = "{value}"' for setting, value in wrong.items() if value)
    setting, value = next(iter(wrong.items()))
    return Detection(text, CalendarMismatch(f"{text}; set {advice}" if advice else text, setting=setting, fits=value))


def _wrong_settings(best: CalendarCandidate, configured: Calendar, *, weeks_matter: bool) -> dict[str, str | None]:
    """Return the settings that the answer contradicts, each with the value that it fits."""
    wrong: dict[str, str | None] = {}
    if best.zone != configured.zone.key:
        wrong["timezone"] = best.zone
    if weeks_matter and best.week_start is not configured.week_start:
        wrong["week_start"] = best.week_start
    return wrong


def _instants(page: Page) -> set[int]:
    known = known_metrics(page.slice.series.resource)
    keys = {key for name, entries in page.metrics.items() if name in known for key, _ in entries}
    return {instant for key in keys if (instant := instant_of(key)) is not None}


def _clock_changes(calendar: Calendar, today: date) -> Iterator[date]:
    """Yield the days before today that do not have 24 hours, newest first."""
    for ago in range(1, _SEARCHED_DAYS):
        day = today - timedelta(days=ago)
        if calendar.midnight(day + ONE_DAY) - calendar.midnight(day) != _ORDINARY_DAY:
            yield day


def _week_start(days: list[date]) -> WeekStart | None:
    weekdays = {day.weekday() for day in days[1:] or days}
    if weekdays == {_SUNDAY}:
        return WeekStart.SUNDAY
    return WeekStart.MONDAY if weekdays == {_MONDAY} else None
