"""How far a series lags behind what could be had.

A lag is counted from the moment at which the period after the newest complete one had ended: from then on it could
have been complete too. So it is 0 while all is well, grows by a second a second once something is late, and after a
refresh falls to what is still missing at the newer end. Holes further back are no lag; a plan knows them.

Rejected: the age of the newest complete period. It swings between nothing and a whole period, a month even, so no
limit on it tells late from punctual.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harvester.core.period import Calendar, Period


def freshness_lag(newest: date | None, start: date, period: Period, calendar: Calendar, now: float) -> float:
    """Seconds for which the next period to become complete has been over.

    Args:
        newest: a day of the newest complete period; None if there is none.
        start: the first day that is wanted.
        period: of the series.
        calendar: of the account.
        now: epoch seconds.
    """
    awaited = calendar.floor(period, start)
    if newest is not None:
        awaited = max(awaited, calendar.following(period, calendar.floor(period, newest)))
    return max(0.0, now - calendar.midnight(calendar.following(period, awaited)))
