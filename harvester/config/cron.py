"""Parser of five cron fields, and their translation for APScheduler.

APScheduler reads the fields differently from cron: it counts Monday as 0, refuses some steps, and requires both day
fields to match. So they are parsed here into sets, by cron's rules (weekday 0 and 7 are Sunday, names in any case), and
APScheduler receives plain lists. A day of the month together with a weekday means "either" to cron and "both" to
APScheduler, so it is refused.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SUNDAY_AGAIN = 7
_MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAYS_A_YEAR = 365.25
_PART = re.compile(r"(?P<all>\*)|(?P<first>[0-9]{1,2}|[a-z]{3})(?:-(?P<last>[0-9]{1,2}|[a-z]{3}))?")


class _Field(NamedTuple):
    title: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 6, _WEEKDAYS),
)


class Cron(NamedTuple):
    """Times of a schedule: the minutes, hours, days of the month, months and weekdays (Sunday is 0) that match."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]


def parse(text: str) -> Cron:
    """Return the times that five cron fields mean.

    Raises:
        ValueError: the text is not a valid schedule; the message says why.
    """
    words = text.lower().split()
    if len(words) != len(_FIELDS):
        raise ValueError(f'must be five cron fields, like "5 * * * *"; there are {len(words)}')
    found = Cron(*(_values(field, word) for field, word in zip(_FIELDS, words, strict=True)))
    if not _is_full(_FIELDS[2], found.days) and not _is_full(_FIELDS[4], found.weekdays):
        raise ValueError("give a day of the month or a weekday, not both: leave one of them *")
    if not any(min(found.days) <= _MONTH_LENGTHS[month - 1] for month in found.months):
        raise ValueError("never occurs: these months have no such day")
    return found


def cron_fields(text: str) -> dict[str, str]:
    """Return the same times as keyword arguments of APScheduler's CronTrigger, which needs UTC as its `timezone`."""
    found = parse(text)
    names = ("minute", "hour", "day", "month", "day_of_week")
    fields = {}
    for name, field, values in zip(names, _FIELDS, found, strict=True):
        words = [_WEEKDAYS[value] if name == "day_of_week" else str(value) for value in sorted(values)]
        fields[name] = "*" if _is_full(field, values) else ",".join(words)
    return fields


def ticks_per_day(text: str) -> float:
    """Return the number of ticks per day, averaged over the years."""
    found = parse(text)
    lengths = {
        month: 28.25 if month == _MONTHS.index("feb") + 1 else _MONTH_LENGTHS[month - 1] for month in found.months
    }
    days = sum(min(1.0, max(0.0, length - day + 1)) for length in lengths.values() for day in found.days)
    return len(found.minutes) * len(found.hours) * days / _DAYS_A_YEAR * len(found.weekdays) / len(_WEEKDAYS)


def _is_full(field: _Field, values: frozenset[int]) -> bool:
    return len(values) == field.high - field.low + 1


def _values(field: _Field, word: str) -> frozenset[int]:
    found: set[int] = set()
    for part in word.split(","):
        span, slash, step_text = part.partition("/")
        match = _PART.fullmatch(span)
        if not match or (slash and not (step_text.isascii() and step_text.isdigit() and 1 <= len(step_text) <= 2)):  # noqa: PLR2004 - two digits are enough for sixty minutes
            raise ValueError(f"the {field.title} is not valid: {part[:20]}")
        step = int(step_text) if slash else 1
        if step < 1:
            raise ValueError(f"the step of the {field.title} must be at least 1")
        first, last = _span(field, match, stepped=bool(slash))
        found.update(range(first, last + 1, step))
    if field.names == _WEEKDAYS:
        found = {value % _SUNDAY_AGAIN for value in found}
    return frozenset(found)


def _span(field: _Field, match: re.Match[str], *, stepped: bool) -> tuple[int, int]:
    if match["all"]:
        return field.low, field.high
    first = _number(field, match["first"])
    if match["last"]:
        last = _number(field, match["last"])
        if field.names == _WEEKDAYS and last == 0 < first:  # fri-sun
            last = _SUNDAY_AGAIN
    else:
        last = field.high if stepped else first
    if last < first:
        raise ValueError(f"the range of the {field.title} ends before it begins: {match[0]}")
    return first, last


def _number(field: _Field, word: str) -> int:
    if word in field.names:
        return field.names.index(word) + field.low
    high = _SUNDAY_AGAIN if field.names == _WEEKDAYS else field.high
    if not word.isdigit() or not field.low <= int(word) <= high:
        raise ValueError(f"the {field.title} must be {field.low} to {high}: {word}")
    return int(word)
