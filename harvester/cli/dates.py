"""Parser of days on the command line: ISO dates, `today` and `yesterday`, which depend on the account's zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from harvester.errors import UsageError

Day = Callable[[date], date]

TODAY = "today"
_AGO = {TODAY: timedelta(0), "yesterday": timedelta(days=1)}
_EARLIEST = date(1980, 1, 1)
_LATEST = date(9000, 1, 1)


def parse_day(text: str, option: str) -> Day:
    """Return a function from an account's today to the day that the text means.

    Raises:
        UsageError: the text is not a date, or a date that cannot have data.
    """
    ago = _AGO.get(text.strip().lower())
    if ago is not None:
        return lambda today: today - ago
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{option}: {text!r} is not a date; write YYYY-MM-DD, today or yesterday") from None
    if not _EARLIEST <= day <= _LATEST:
        raise UsageError(f"{option}: {text} is out of range: {_EARLIEST} to {_LATEST}")
    return lambda _: day


def parse_days(start: str, end: str) -> Callable[[date], tuple[date, date]]:
    """Return a function from an account's today to the first and the last day of a range.

    Raises:
        UsageError: one of the texts is not a date, or the end is before the start on every day.
    """
    first, last = parse_day(start, "--start"), parse_day(end, "--end")
    if all(last(today) < first(today) for today in (_EARLIEST, _LATEST)):
        raise UsageError(f"--end {end} is before --start {start}")
    return lambda today: (first(today), last(today))
