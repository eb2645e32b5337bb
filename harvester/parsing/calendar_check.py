"""Check of an answer's timestamps against the configured calendar, and the search for calendars that they fit.

VoiceTrends keys each figure by the instant at which its period begins in a zone of its own. Where that zone or the
first day of the week differs from the configuration, storing the figures would store wrong days, so the whole answer
fails. One stray timestamp among others that fit is left to `normalize`, which rejects that entry alone.

Zones are tried in the order of their plausibility for a company in the US, the configured one first. The search runs
only for `check --online` and on the way to the error; nothing else in the core makes the interpreter read zone files.
"""

import re
from collections.abc import Iterable, Iterator
from zoneinfo import ZoneInfo

from harvester.core.model import Slice
from harvester.core.period import Calendar, Period, WeekStart
from harvester.errors import CalendarMismatch

ZONES = (
    *("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "UTC", "Etc/GMT+5"),
    *("America/Phoenix", "America/Anchorage", "Pacific/Honolulu", "America/Halifax", "America/St_Johns"),
    *("Etc/GMT+4", "Etc/GMT+6", "Etc/GMT+7", "Etc/GMT+8", "America/Sao_Paulo", "Europe/London", "Europe/Berlin"),
    *("Europe/Athens", "Europe/Moscow", "Asia/Dubai", "Asia/Karachi", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Dhaka"),
    *("Asia/Bangkok", "Asia/Shanghai", "Asia/Tokyo", "Australia/Adelaide", "Australia/Sydney", "Pacific/Auckland"),
)

_INSTANT = re.compile(r"[1-9][0-9]{7,9}")  # epoch seconds from 1970-04 on
_YEAR_2100 = 4_102_444_800  # epoch seconds


def instant_of(text: str) -> int | None:
    """Return the epoch second that a timestamp text states; None if it states no plausible one."""
    return int(text) if _INSTANT.fullmatch(text) and int(text) < _YEAR_2100 else None


def check_calendar(timestamps: Iterable[str], piece: Slice, calendar: Calendar) -> None:
    """Check the timestamp texts of an answer to `piece` against the configured calendar.

    Raises:
        CalendarMismatch: two of them, or all of them, begin no period of the calendar.
    """
    instants = {instant for text in timestamps if (instant := instant_of(text)) is not None}
    strays = {instant for instant in instants if not _begins(piece.series.period, instant, calendar)}
    if len(strays) > 1 or (strays and strays == instants):
        raise _mismatch(instants, min(strays), piece, calendar)


def matching_calendars(instants: Iterable[int], period: Period, configured: Calendar) -> Iterator[Calendar]:
    """Yield the calendars in which every instant begins a period: the configured one, then those of other zones.

    Args:
        instants: epoch seconds.
        period: what they should begin.
        configured: its week start applies to all.
    """
    others = (ZoneInfo(name) for name in ZONES if name != configured.zone.key)
    for calendar in (configured, *(Calendar(zone, configured.week_start) for zone in others)):
        if all(_begins(period, instant, calendar) for instant in instants):
            yield calendar


def _begins(period: Period, instant: int, calendar: Calendar) -> bool:
    day = calendar.local_date(instant)
    return calendar.midnight(day) == instant and calendar.floor(period, day) == day


def _mismatch(instants: set[int], stray: int, piece: Slice, calendar: Calendar) -> CalendarMismatch:
    period = piece.series.period
    if period is Period.WEEK and all(_begins(Period.DAY, instant, calendar) for instant in instants):
        weekday = calendar.local_date(stray).strftime("%A")
        detail = f'the server\'s weeks begin on a {weekday}, those of week_start = "{calendar.week_start}" do not'
        other = next(start for start in WeekStart if start is not calendar.week_start)
        fits = all(_begins(period, instant, Calendar(calendar.zone, other)) for instant in instants)
        return _advise(detail, "week_start", other if fits else None)
    detail = f"the server's {period} at {stray} does not begin with a {period} of {calendar.zone.key}"
    return _advise(detail, "timezone", _matching_zone(instants, piece, calendar))


def _matching_zone(instants: set[int], piece: Slice, calendar: Calendar) -> str | None:
    """Return the most plausible zone in which every instant begins a period of the slice.

    The period must also be one that was asked for: zones a day apart share their midnights. Where no zone fits weeks,
    return one in which every instant begins a day: zone and week start may both be wrong.
    """
    period = piece.series.period
    for wanted in (Period.WEEK, Period.DAY) if period is Period.WEEK else (period,):
        for match in matching_calendars(instants, wanted, calendar):
            if all(piece.first <= match.local_date(instant) <= piece.last for instant in instants):
                return match.zone.key
    return None


def _advise(detail: str, setting: str, fits: str | None) -> CalendarMismatch:
    advice = f'{setting} = "{fits}" would fit' if fits else f"no {setting} that was tried would fit"
    return CalendarMismatch(f"{detail}; {advice}", setting=setting, fits=fits)
