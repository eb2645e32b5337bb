"""Calendar detection: the range to ask for, and the calendars that its answer fits.

`calendar_check` decides whether an answer fits the configured calendar; this module finds all calendars that it fits.
It asks for weeks, because the key of a week shows both the instant of a midnight and the weekday that begins a week.

A few weeks in one season cannot tell New York from a fixed UTC-5, and the wrong one of the two is an hour off for half
of every year. So the weeks lie around the newest change to or from daylight saving that is far enough back. They are
few, so that the server does not refuse the width, and all of them are over, because a current week shows nothing.

Where the server's weeks begin on another day than the configured ones, the range begins inside one of its weeks. That
week may then be keyed by the first day of the range, so the first key says nothing about weekdays if there are others.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from harvester.core.metric_catalogue import known_metrics
from harvester.core.model import Page
from harvester.core.period import ONE_DAY, Calendar, Period, WeekStart
from harvester.errors import CalendarMismatch
from harvester.parsing.calendar_check import ZONES, instant_of, matching_calendars
from harvester.parsing.normalize import normalize

MAX_WEEKS = 4  # two on each side of a clock change

_WEEK = timedelta(days=7)
_SEARCHED_DAYS = 400  # a zone with daylight saving changed its clocks within the last year
_MAX_NAMED_ZONES = 3  # in a message
_ORDINARY_DAY = 86_400  # seconds
_SUNDAY, _MONDAY = 6, 0  # as date.weekday() counts


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


def compare_calendar(page: Page, configured: Calendar, *, weeks_matter: bool = True) -> str:
    """Return a description of the calendars that an answer fits.

    Args:
        page: an answer to `weeks_to_probe`.
        configured: the calendar that it should fit.
        weeks_matter: if False, a wrong `week_start` does no harm and is described alone.

    Raises:
        CalendarMismatch: the answer does not fit the configured calendar.
        PayloadError: the page is no answer to its slice.
    """
    refused: CalendarMismatch | None = None
    try:
        normalize(page, configured)
    except CalendarMismatch as error:
        refused = error
    instants = _instants(page)
    if not instants:
        return "the answer holds no weeks, so its zone and week start are unknown"
    matches = list(matching_calendars(instants, Period.DAY, configured))
    if not matches:
        if refused is not None:
            raise refused
        return "the answer fits the configuration, except for one stray timestamp"
    zone = matches[0].zone.key
    week_start = _week_start([matches[0].local_date(instant) for instant in instants])
    zones = " or ".join(match.zone.key for match in matches[:_MAX_NAMED_ZONES])
    text = f"the answer fits {zones}, " + (f"weeks from {week_start}" if week_start else "but no week_start")
    wrong: dict[str, str | None] = {}  # setting -> the value that fits
    if zone != configured.zone.key:
        wrong["timezone"] = zone
    if weeks_matter and week_start is not configured.week_start:
        wrong["week_start"] = week_start
    if not wrong:
        return text
    advice = " and ".join(f'{setting} = "{value}"' for setting, value in wrong.items() if value)
    setting, fits = next(iter(wrong.items()))
    raise CalendarMismatch(f"{text}; set {advice}" if advice else text, setting=setting, fits=fits)


def _instants(page: Page) -> list[int]:
    known = known_metrics(page.slice.series.resource)
    keys = {key for name, entries in page.metrics.items() if name in known for key, _ in entries}
    return sorted(instant for key in keys if (instant := instant_of(key)) is not None)


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
