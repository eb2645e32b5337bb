"""Days that the API does not serve yet: no gap for a day, and one line."""

from __future__ import annotations

from datetime import date, timedelta

from harvester.core.model import RangeLimits, Stretch
from harvester.reports.status import build
from harvester.reports.status_text import lines
from harvester.store.types import AccountStatus, RecordedState, SeriesStatus
from tests.support.answers import JANUARY, at, identity, series

TODAY = date(2024, 3, 20)
UNTIL = TODAY - timedelta(days=2)
NOW = float(at(TODAY))


def stored(limits: RangeLimits) -> AccountStatus:
    days = series()
    one = SeriesStatus(days, JANUARY, UNTIL, (Stretch(JANUARY, UNTIL, TODAY, 1),), 0, ())
    limits_of = {days.range_key: limits}
    return AccountStatus(identity(), RecordedState.OK, "", "", "", None, None, limits_of, (one,))


def test_days_that_the_api_does_not_serve_yet_are_no_gap() -> None:
    report = build([stored(RangeLimits(lag=2, lag_at=int(NOW) - 3600))], None, NOW, "0006")
    (one,) = report.accounts[0].series
    assert not report.needs_attention
    assert (one.gaps, one.complete_through) == ([], UNTIL)
    later = "later days are requested again within a day"
    text = [line.text for line in lines(report, every_series=False)]
    assert f"main performance day: the API serves no day after {UNTIL} yet; {later}" in text


def test_what_one_phone_alone_or_an_earlier_day_has_shown_excuses_no_gap() -> None:
    for limits in (RangeLimits(), RangeLimits(lag=2), RangeLimits(lag=2, lag_at=int(NOW) - 86_400)):
        assert build([stored(limits)], None, NOW, "0006").needs_attention
