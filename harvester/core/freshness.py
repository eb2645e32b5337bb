"""Freshness lag: the time by which a series is behind the data that the API could give.

The lag counts from the moment at which the period after the newest complete one ended: from then on that period could
be complete too. So the lag is 0 while all is well, grows by a second per second once something is late, and after a
refresh falls to what is still missing at the newer end. Older holes are not lag; planning finds them.

Rejected: the age of the newest complete period. It swings between nothing and a whole period, even a month, so no
threshold on it separates late from punctual.
"""

from datetime import date

from harvester.core.period import Calendar, Period


def freshness_lag(newest: date | None, start: date, period: Period, calendar: Calendar, now: float) -> float:
    """Return the seconds from the end of the next period to become complete until now, at least 0.

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
