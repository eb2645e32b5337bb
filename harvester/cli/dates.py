"""Days as people give them: ISO, `today`, `yesterday`; what the last two mean depends on the account's zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from harvester.errors import UsageError

Day = Callable[[date], date]

TODAY = "today"
_AGO = {TODAY: timedelta(0), "yesterday": timedelta(days=1)}
_EARLIEST = date(1980, 1, 1)


def parse_day(text: str, option: str) -> Day:
    """A function from an account's today to the day meant.

    Raises:
        UsageError: it is no date, or far from any that can hold data.
    """
    ago = _AGO.get(text.strip().lower())
    if ago is not None:
        return lambda today: today - ago
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{option}: {text!r} is no date; write YYYY-MM-DD, today or yesterday") from None
    if not _EARLIEST <= day <= date(9000, 1, 1):
        raise UsageError(f"{option}: {text} is out of reach; dates begin with {_EARLIEST}")
    return lambda _: day


def parse_days(start: str, end: str) -> Callable[[date], tuple[date, date]]:
    """A function from an account's today to the first and last day meant, both inclusive.

    Raises:
        UsageError: one is no date, or the end comes before the start.
    """
    first, last = parse_day(start, "--start"), parse_day(end, "--end")
    if all(last(today) < first(today) for today in (_EARLIEST, date(9000, 1, 1))):
        raise UsageError(f"--end {end} comes before --start {start}")
    return lambda today: (first(today), last(today))
