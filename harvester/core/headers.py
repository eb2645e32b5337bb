"""Parser of the response headers that describe the quota and the server's clock: text to number, or to None.

The server is only half documented, and proxies stand between. So each header is parsed strictly, and one that makes no
sense counts as absent, because a wrong number is worse than none. What makes sense:

- A count is a plain decimal integer of at most nine digits.
- X-RateLimit-Reset is an epoch second between 2000 and 2100; the same moment in milliseconds is read as such. A small
  number ("900") counts as absent.
- Retry-After is whole seconds or an HTTP date (RFC 9110, 10.2.3), and at most a day.
- Date is an HTTP date between 2000 and 2100.

Rejected: reading a small Reset as seconds from now. It would be known to two seconds at best, so one window would seem
to end at several moments. Where it is always the window's length, every answer would seem to begin a window. The
configured windows on the server's own Date are more exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

MAX_RETRY_AFTER = 86_400  # seconds; a longer one is nonsense

_YEAR_2000 = 946_684_800  # epoch seconds
_YEAR_2100 = 4_102_444_800  # epoch seconds
_MAX_DIGITS = 9
_MAX_HEADER_LENGTH = 64  # characters


@dataclass(frozen=True, slots=True)
class QuotaHeaders:
    """The quota headers of one answer; None for each that is absent or makes no sense."""

    limit: int | None = None  # requests per window
    remaining: int | None = None  # requests left in the window in which this one was counted
    reset: int | None = None  # server's epoch second at which that window ends
    date: int | None = None  # server's epoch second, rounded down, at which the answer was made
    retry_after: int | None = None  # seconds to wait, counted from the answer


def read_quota_headers(headers: Mapping[str, str]) -> QuotaHeaders:
    """Return the quota headers of any answer; the names in `headers` are in lower case."""
    date = parse_date(headers.get("date"))
    return QuotaHeaders(
        limit=parse_count(headers.get("x-ratelimit-limit")),
        remaining=parse_count(headers.get("x-ratelimit-remaining")),
        reset=parse_reset(headers.get("x-ratelimit-reset")),
        date=date,
        retry_after=parse_retry_after(headers.get("retry-after"), date),
    )


def parse_count(text: str | None) -> int | None:
    """Return a number of requests."""
    number = _digits(text)
    return number if number is not None and number < 10**_MAX_DIGITS else None


def parse_reset(text: str | None) -> int | None:
    """Return the server's epoch second at which a window ends."""
    number = _digits(text)
    if number is None:
        return None
    if number >= _YEAR_2000 * 1000:  # milliseconds
        number = -(-number // 1000)
    return number if _YEAR_2000 <= number < _YEAR_2100 else None


@lru_cache(maxsize=8)  # answers of one second have the same Date
def parse_date(text: str | None) -> int | None:
    """Return the epoch second of an HTTP date."""
    if text is None or len(text) > _MAX_HEADER_LENGTH:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # HTTP dates are in GMT, also in the old forms that name no zone.
        epoch = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return epoch if _YEAR_2000 <= epoch < _YEAR_2100 else None


def parse_retry_after(text: str | None, date: int | None) -> int | None:
    """Return the seconds to wait, counted from an answer made at `date` (server's epoch second)."""
    seconds = _digits(text)
    if seconds is None:
        until = parse_date(text)
        if until is None or date is None:
            return None
        seconds = max(0, until - date)
    return seconds if seconds <= MAX_RETRY_AFTER else None


def _digits(text: str | None) -> int | None:
    if text is None or len(text) > _MAX_HEADER_LENGTH:
        return None
    text = text.strip(" \t")
    return int(text) if text.isascii() and text.isdigit() else None
