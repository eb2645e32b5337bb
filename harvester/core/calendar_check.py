"""Check that the timestamps of an answer begin periods of the configured calendar."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from harvester.core.period import Calendar, Period, WeekStart
from harvester.errors import CalendarMismatch

if TYPE_CHECKING:
    from harvester.core.model import Slice

ZONES = (
    *("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "UTC", "Etc/GMT+5"),
    *("America/Phoenix", "America/Anchorage", "Pacific/Honolulu", "America/Halifax", "America/St_Johns"),
    *("Etc/GMT+4", "Etc/GMT+6", "Etc/GMT+7", "Etc/GMT+8", "America/Sao_Paulo", "Europe/London", "Europe/Berlin"),
    *("Europe/Athens", "Europe/Moscow", "Asia/Dubai", "Asia/Karachi", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Dhaka"),
    *("Asia/Bangkok", "Asia/Shanghai", "Asia/Tokyo", "Australia/Adelaide", "Australia/Sydney", "Pacific/Auckland"),
)


_INSTANT = re.compile(r"[1-9][0-9]{7,9}")  # epoch seconds from 1970-04 on


_LATEST = 4_102_444_800  # 2100-01-01


def instant_of(text: str) -> int | None:
    """Return the epoch second that a timestamp text states; None if it is no plausible one."""
    if _INSTANT.fullmatch(text) is None:
        return None
    instant = int(text)
    return instant if instant < _LATEST else None


def check_calendar(testimony: Iterable[str], piece: Slice, calendar: Calendar) -> None:
    """Check the timestamp texts of an answer to `piece` against the configured calendar.

    Raises:
        CalendarMismatch: two of them, or all of them, begin no period of the calendar.
    """
    instants = {instant for text in testimony if (instant := instant_of(text)) is not None}
    strangers = {instant for instant in instants if not _begins(instant, piece.series.period, calendar)}
    if len(strangers) > 1 or (strangers and strangers == instants):
        raise _mismatch(instants, min(strangers), piece, calendar)


def _begins(instant: int, period: Period, calendar: Calendar) -> bool:
    """Whether a period of this calendar begins at this instant."""
    day = calendar.local_date(instant)
    return calendar.midnight(day) == instant and calendar.floor(period, day) == day


def _mismatch(instants: set[int], stray: int, piece: Slice, calendar: Calendar) -> CalendarMismatch:
    period = piece.series.period
    if period is Period.WEEK and all(_begins(instant, Period.DAY, calendar) for instant in instants):
        weekday = calendar.local_date(stray).strftime("%A")
        detail = f"the server's weeks begin on a {weekday}, those of week_start = {calendar.week_start.value!r} do not"
        other = _other(calendar)
        fits = other.week_start.value if all(_begins(instant, period, other) for instant in instants) else None
        return CalendarMismatch(_advised(detail, "week_start", fits), setting="week_start", fits=fits)
    detail = f"the server's {period.value} at {stray} does not begin with a {period.value} of {calendar.zone.key}"
    fits = _fitting_zone(instants, piece, calendar)
    return CalendarMismatch(_advised(detail, "timezone", fits), setting="timezone", fits=fits)


def _other(calendar: Calendar) -> Calendar:
    start = WeekStart.MONDAY if calendar.week_start is WeekStart.SUNDAY else WeekStart.SUNDAY
    return Calendar(calendar.zone, start)


def _advised(detail: str, setting: str, fits: str | None) -> str:
    return f"{detail}; {setting} = {fits!r} would fit" if fits else f"{detail}; no {setting} tried would fit"


def _fitting_zone(instants: set[int], piece: Slice, calendar: Calendar) -> str | None:
    """The most plausible zone in which each instant begins a period of the slice.

    If none does for weeks, one in which each begins a day: zone and week start may both be wrong.
    """
    period = piece.series.period
    for wanted in (Period.WEEK, Period.DAY) if period is Period.WEEK else (period,):
        for name in ZONES:
            candidate = _candidate(name, calendar)
            if candidate and all(_fits(instant, wanted, piece, candidate) for instant in instants):
                return name
    return None


def _candidate(name: str, calendar: Calendar) -> Calendar | None:
    try:
        return Calendar(ZoneInfo(name), calendar.week_start)
    except ZoneInfoNotFoundError:
        return None


def _fits(instant: int, period: Period, piece: Slice, candidate: Calendar) -> bool:
    """Whether it begins a period, and one that was asked for: zones a day apart share their midnights."""
    return _begins(instant, period, candidate) and piece.first <= candidate.local_date(instant) <= piece.last
