"""What an answer's headers say of the quota and of the server's clock: text to numbers, or to None.

Headers come from a server that is only half documented, through proxies. So each is read strictly, and one that
makes no sense counts as absent: a wrong number is worse than none. What "makes sense" needs is stated here:

- A count is a plain decimal integer of at most nine digits.
- X-RateLimit-Reset is an epoch second between 2000 and 2100; the same moment in milliseconds is read as such. A small
  number ("900") counts as absent.
- Retry-After is whole seconds or an HTTP date (RFC 9110, 10.2.3), and at most a day: nobody means more.
- Date is an HTTP date between 2000 and 2100.

Rejected: reading a small Reset as seconds from now. It is known to two seconds at best, so one window would seem to
end at several moments, and where it is the window's length, always the same, every answer would seem to begin a
window. The configured windows on the server's own Date do better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

LONGEST_RETRY_AFTER = 86_400  # seconds; a longer one is nonsense

_EARLIEST = 946_684_800  # 2000-01-01, epoch seconds
_LATEST = 4_102_444_800  # 2100-01-01
_MOST_DIGITS = 9
_LONGEST_TEXT = 64


@dataclass(frozen=True, slots=True)
class QuotaHeaders:
    """What one answer says; None for what it does not say intelligibly."""

    limit: int | None = None  # requests per window
    remaining: int | None = None  # requests left in the window that this one was counted in
    reset: int | None = None  # server's epoch second at which that window ends
    date: int | None = None  # server's epoch second, cut to the whole one, at which the answer was made
    retry_after: int | None = None  # seconds to wait from the answer on


def read_quota_headers(headers: Mapping[str, str]) -> QuotaHeaders:
    """Read the headers (names in lower case) of any answer."""
    date = parse_date(headers.get("date"))
    return QuotaHeaders(
        limit=parse_count(headers.get("x-ratelimit-limit")),
        remaining=parse_count(headers.get("x-ratelimit-remaining")),
        reset=parse_reset(headers.get("x-ratelimit-reset")),
        date=date,
        retry_after=parse_retry_after(headers.get("retry-after"), date),
    )


def parse_count(text: str | None) -> int | None:
    """A plain number of requests."""
    number = _digits(text)
    return number if number is not None and number < 10**_MOST_DIGITS else None


def parse_reset(text: str | None) -> int | None:
    """The server's epoch second at which a window ends."""
    number = _digits(text)
    if number is None:
        return None
    if number >= _EARLIEST * 1000:  # milliseconds
        number = -(-number // 1000)
    return number if _EARLIEST <= number < _LATEST else None


@lru_cache(maxsize=8)  # answers of the same second say the same
def parse_date(text: str | None) -> int | None:
    """The epoch second of an HTTP date."""
    if text is None or len(text) > _LONGEST_TEXT:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # HTTP dates are GMT; the old forms that do not say so are no other zone either.
        epoch = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return epoch if _EARLIEST <= epoch < _LATEST else None


def parse_retry_after(text: str | None, date: int | None) -> int | None:
    """Seconds to wait from the answer on, which was made at `date` (server's epoch second); None if nonsense."""
    seconds = _digits(text)
    if seconds is None:
        until = parse_date(text)
        if until is None or date is None:
            return None
        seconds = max(0, until - date)
    return seconds if seconds <= LONGEST_RETRY_AFTER else None


def _digits(text: str | None) -> int | None:
    if text is None or len(text) > _LONGEST_TEXT:
        return None
    text = text.strip(" \t")
    return int(text) if text.isascii() and text.isdigit() else None
