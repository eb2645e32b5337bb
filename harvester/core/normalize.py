"""An answer judged against the slice that asked for it: what is stored, what is rejected, what fails the whole.

The slice's grid, the first instants of the periods it asked for, is the measure. In this order:

1. No metric that the resource is known to have: somebody else's answer, a PayloadError. The empty document is none:
   the server's PHP writes `[]` where it has nothing, so it is well-formed and lacks all periods, and so does a known
   metric with an empty map. Both are done, all periods absent: failing them would ask for ever for the years before
   an account began.
2. The keys of the known metrics testify to the server's calendar. Two distinct instants or more that begin no period
   of ours, or one if none does begin one, is a CalendarMismatch: storing any of it would store wrong days. A metric
   never heard of does not testify; it may well be keyed by something else.
3. Keys but not a single one within the slice: an answer to some other question, a PayloadError.
4. The rest is judged entry by entry. A key that is no epoch second, a single stray one, one of our grid but outside
   the slice, and Junk are rejects. A key that comes twice in one metric is rejected every time: which entry is true
   cannot be told, and the value stored earlier is the better one.

A metric's name must be a plain word: it becomes a name in two databases and in Prometheus. A map under any other name
is one reject. So is what a metric adds once an answer has MOST_REJECTS of them: a server that answers junk by the
hundred thousand shall fill neither memory nor table. A period is absent when no metric, known or not, has an entry for
it; an entry that is rejected is one.

Zones are tried in the order of their plausibility for a company in the US; the search runs only on the way to the
error, and is the one place in the core that may make the interpreter read zone files.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from harvester.core.metrics import known_metrics
from harvester.core.model import Batch, Junk, Reject
from harvester.core.payload import NO_TIMESTAMP, shown
from harvester.core.period import Calendar, Period, WeekStart
from harvester.errors import CalendarMismatch, PayloadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from harvester.core.model import Page, Raw, Slice

MOST_METRICS = 200  # more names than that in one answer are junk, and would stay in the tables for ever
MOST_REJECTS = 1000  # of one answer, told one by one

ZONES = (
    *("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "UTC", "Etc/GMT+5"),
    *("America/Phoenix", "America/Anchorage", "Pacific/Honolulu", "America/Halifax", "America/St_Johns"),
    *("Etc/GMT+4", "Etc/GMT+6", "Etc/GMT+7", "Etc/GMT+8", "America/Sao_Paulo", "Europe/London", "Europe/Berlin"),
    *("Europe/Athens", "Europe/Moscow", "Asia/Dubai", "Asia/Karachi", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Dhaka"),
    *("Asia/Bangkok", "Asia/Shanghai", "Asia/Tokyo", "Australia/Adelaide", "Australia/Sydney", "Pacific/Auckland"),
)

LONGEST_NAME = 64  # characters
_INSTANT = re.compile(r"[1-9][0-9]{7,9}")  # epoch seconds from 1970-04 on
_LATEST = 4_102_444_800  # 2100-01-01


class _Grid(NamedTuple):
    """The periods of a slice, by epoch and by the epoch's text."""

    days: Mapping[int, date]
    epochs: Mapping[str, int]


def normalize(page: Page, calendar: Calendar) -> Batch:
    """Judge an answer.

    Raises:
        PayloadError: it is no answer to this slice.
        CalendarMismatch: the server's periods do not begin where those of `calendar` do.
    """
    piece = page.slice
    grid = _grid(calendar, piece.series.period, piece.first, piece.last)
    testimony = _testimony(page)
    if testimony and not testimony <= grid.epochs.keys():
        _check_calendar(testimony, piece, calendar)
        if testimony.isdisjoint(grid.epochs):
            raise PayloadError(f"no entry within {piece.first}..{piece.last}")
    values: dict[str, Sequence[tuple[int, float | None]]] = {}
    rejects: list[Reject] = []
    for name, entries in page.metrics.items():
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():  # also a NUL, a lone surrogate
            rejects.append(Reject(shown(name), NO_TIMESTAMP, f"{len(entries)} entries", "no name for a metric"))
        else:
            values[name] = _judge(name, entries, grid.epochs, rejects)
    seen = set(chain.from_iterable(map(dict, page.metrics.values())))
    absent = [grid.days[epoch] for text, epoch in grid.epochs.items() if text not in seen]
    return Batch(piece, page.sent_at, grid.days, values, rejects, absent)


def _testimony(page: Page) -> set[str]:
    """The timestamp texts of the metrics that the resource is known to have."""
    if not page.metrics:
        return set()
    if len(page.metrics) > MOST_METRICS:
        raise PayloadError(f"{len(page.metrics)} metrics in one answer")
    known = known_metrics(page.slice.series.resource)
    maps = [dict(entries) for name, entries in page.metrics.items() if name in known]
    if all(found.keys() == {NO_TIMESTAMP} for found in maps):  # none at all, too
        names = ", ".join(shown(name) for name in list(page.metrics)[:5])
        raise PayloadError(f"no metric of {page.slice.series.resource} in it, but {names}")
    return set().union(*maps) - {NO_TIMESTAMP}


@lru_cache(maxsize=32)  # the phones of an account are asked for the same days, one after the other
def _grid(calendar: Calendar, period: Period, first: date, last: date) -> _Grid:
    days = calendar.grid(period, first, last)
    return _Grid(days, {str(epoch): epoch for epoch in days})


def _judge(
    metric: str, entries: Sequence[tuple[str, Raw]], epochs: Mapping[str, int], rejects: list[Reject]
) -> list[tuple[int, float | None]]:
    twice: set[str] = set()
    if len(dict(entries)) < len(entries):
        twice = {text for text, count in Counter(text for text, _ in entries).items() if count > 1} - {NO_TIMESTAMP}
    taken: list[tuple[int, float | None]] = []
    untold = 0
    for text, raw in entries:
        epoch = epochs.get(text)
        if epoch is None or isinstance(raw, Junk) or text in twice:
            if len(rejects) < MOST_REJECTS:
                rejects.append(_reject(metric, text, raw, doubled=text in twice))
            else:
                untold += 1
        else:
            # Adding 0.0 makes an integer a double, and of -0.0 the zero that both databases agree on.
            taken.append((epoch, None if raw is None else raw + 0.0))
    if untold:
        rejects.append(Reject(metric, NO_TIMESTAMP, f"{untold} entries", "too many to be told one by one"))
    return taken


def _reject(metric: str, text: str, raw: Raw, *, doubled: bool) -> Reject:
    value = raw.text if isinstance(raw, Junk) else "null" if raw is None else repr(raw)
    if doubled:
        reason = "the timestamp comes twice"
    elif isinstance(raw, Junk):
        reason = raw.reason
    elif _instant(text) is None:
        reason = "the key is no timestamp in seconds"
    else:
        reason = "outside the slice, or no start of a period"
    return Reject(metric, shown(text), value, reason)


def _instant(text: str) -> int | None:
    if _INSTANT.fullmatch(text) is None:
        return None
    instant = int(text)
    return instant if instant < _LATEST else None


def _check_calendar(testimony: Iterable[str], piece: Slice, calendar: Calendar) -> None:
    instants = {instant for text in testimony if (instant := _instant(text)) is not None}
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
