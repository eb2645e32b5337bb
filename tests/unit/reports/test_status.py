from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Account, Database, Phone, Quota, Settings
from harvester.core.absence import AbsentSpan
from harvester.core.coverage import Span
from harvester.core.model import QuotaRecord, Series, Stretch
from harvester.core.period import ONE_DAY, Period
from harvester.errors import UsageError
from harvester.reports.filters import narrow
from harvester.reports.status import ConfiguredAccount, as_json, build, configured_accounts
from harvester.reports.status_text import Line, LineStyle, lines
from harvester.store.types import AccountStatus, FailedRange, RecordedState, SeriesStatus
from tests.support.answers import CALENDAR, JANUARY, SETTLE_DAYS, at, identity, series

TODAY = date(2024, 3, 20)  # a Wednesday; weeks start on Sunday
YESTERDAY = TODAY - ONE_DAY
NOW = float(at(TODAY))
DAYS, WEEKS, MONTHS = (series(period=period) for period in Period)


def asked(first: date, last: date, on: date = TODAY, lag: int | None = None) -> Stretch:
    """A stretch requested on one day."""
    return Stretch(first, last, on, (on - last).days - 1 if lag is None else lag)


def covered(
    *coverage: Stretch, of: Series = DAYS, absent: int = 0, failed: tuple[FailedRange, ...] = ()
) -> SeriesStatus:
    first, last = (coverage[0].first, coverage[-1].last) if coverage else (None, None)
    return SeriesStatus(of, first, last, coverage, absent, failed)


def stored(
    *found: SeriesStatus,
    state: RecordedState = RecordedState.OK,
    reason: str = "",
    holder: str = "",
    quota: QuotaRecord | None = None,
    **changes: object,
) -> AccountStatus:
    return AccountStatus(identity(**changes), state, reason, holder, "", None, quota, {}, found)  # type: ignore[arg-type]


def configured(*names: Series, start: date | None = JANUARY, reserve: int = 0, limit: int = 150) -> ConfiguredAccount:
    return ConfiguredAccount("main", CALENDAR, SETTLE_DAYS, start, limit, reserve, names or (DAYS,))


def report_on(found: AccountStatus, wanted: ConfiguredAccount | None = None) -> dict[str, Any]:
    """The JSON of the one account."""
    (account,) = as_json(build([found], None if wanted is None else [wanted], NOW, "0002"))["accounts"]
    assert isinstance(account, dict)
    return account


def one_series(found: AccountStatus, wanted: ConfiguredAccount | None = None) -> dict[str, Any]:
    """The JSON of its one series."""
    (one,) = report_on(found, wanted)["series"]
    assert isinstance(one, dict)
    return one


def attention(found: AccountStatus | None, wanted: ConfiguredAccount | None = None) -> bool:
    return build([found] if found else [], None if wanted is None else [wanted], NOW, "0002").needs_attention


def text_of(report: list[Line]) -> list[str]:
    return [line.text for line in report]


# Gaps and completeness


def test_a_complete_series_has_no_gap_and_is_final_but_for_its_last_days() -> None:
    one = one_series(stored(covered(asked(JANUARY, TODAY))))
    assert one["gaps"] == []
    assert one["complete_through"] == "2024-03-19"
    assert one["final_through"] == "2024-03-16"  # final on the 20th, three days after its end
    assert (one["first"], one["last"]) == ("2024-01-01", "2024-03-20")


def test_gaps_reach_from_the_configured_start_to_yesterday() -> None:
    found = stored(covered(asked(date(2024, 1, 5), date(2024, 1, 9)), asked(date(2024, 1, 12), date(2024, 3, 17))))
    one = one_series(found)
    assert one["gaps"] == [["2024-01-01", "2024-01-04"], ["2024-01-10", "2024-01-11"], ["2024-03-18", "2024-03-19"]]
    assert one["final_through"] is None  # the very first days are missing


def test_gaps_begin_with_the_first_stored_day_if_it_is_before_the_start() -> None:
    found = stored(covered(asked(date(2023, 12, 1), date(2023, 12, 10)), asked(date(2024, 1, 1), TODAY)))
    assert one_series(found)["gaps"] == [["2023-12-11", "2023-12-31"]]
    assert one_series(found)["final_through"] == "2023-12-10"


def test_the_configuration_says_where_a_series_starts() -> None:
    found = stored(covered(asked(date(2024, 1, 1), TODAY)))
    assert one_series(found, configured(start=date(2023, 12, 30)))["gaps"] == [["2023-12-30", "2023-12-31"]]
    assert one_series(found, configured(start=None))["gaps"] == []
    assert one_series(found, configured(start=TODAY))["gaps"] == []


def test_today_is_never_missing() -> None:
    assert one_series(stored(covered(asked(JANUARY, YESTERDAY))))["gaps"] == []
    assert one_series(stored(covered(), start=TODAY))["gaps"] == []
    assert one_series(stored(covered(), start=TODAY + ONE_DAY))["gaps"] == []


def test_yesterday_is_in_the_zone_of_the_account() -> None:
    late = float(at(TODAY, 23))  # the next day in UTC already
    (account,) = build([stored(covered(asked(JANUARY, YESTERDAY)))], None, late, "0002").accounts
    assert account.series[0].gaps == []
    (account,) = build([stored(covered(asked(JANUARY, YESTERDAY)), timezone="UTC")], None, late, "0002").accounts
    assert account.series[0].gaps == [Span(TODAY, TODAY)]


@pytest.mark.parametrize(
    ("of", "last", "gaps"),
    [
        (WEEKS, date(2024, 3, 16), []),  # the week of the 17th still runs
        (WEEKS, date(2024, 3, 9), [["2024-03-10", "2024-03-16"]]),
        (MONTHS, date(2024, 2, 29), []),
        (MONTHS, date(2024, 1, 31), [["2024-02-01", "2024-02-29"]]),
    ],
)
def test_only_a_period_that_has_ended_can_be_missing(of: Series, last: date, gaps: list[list[str]]) -> None:
    found = stored(covered(asked(date(2023, 12, 31) if of is WEEKS else JANUARY, last), of=of))
    assert one_series(found)["gaps"] == gaps
    assert attention(found) is bool(gaps)


def test_a_start_inside_a_period_asks_for_all_of_it() -> None:
    one = one_series(stored(covered(of=MONTHS), start=date(2024, 1, 20)))
    assert one["gaps"] == [["2024-01-01", "2024-02-29"]]


def test_absent_periods_are_counted_and_no_gap() -> None:
    one = one_series(stored(covered(asked(JANUARY, TODAY), absent=4)))
    assert (one["absent"], one["gaps"]) == (4, [])


def test_unconfirmed_absence_is_not_final_and_reported_apart() -> None:
    doubtful = AbsentSpan(date(2024, 2, 1), date(2024, 2, 10), TODAY, 79)
    found = stored(replace(covered(asked(JANUARY, TODAY), absent=14), unconfirmed=(doubtful,)))
    one = one_series(found)
    assert (one["absent"], one["unconfirmed_absent"], one["gaps"]) == (14, 10, [])
    assert one["final_through"] == one["complete_through"] == "2024-01-31"
    assert not attention(found)
    text = text_of(lines(build([found], None, NOW, "0002"), every_series=True))
    assert "main: 10 absent periods not confirmed, so not final; requested again on a later day" in text
    assert "main performance 8005551234 day: absent once 2024-02-01..2024-02-10" in text


def test_a_latest_period_that_is_absent_once_is_lacking() -> None:
    doubtful = AbsentSpan(YESTERDAY, YESTERDAY, TODAY, 79)
    assert attention(stored(replace(covered(asked(JANUARY, TODAY), absent=1), unconfirmed=(doubtful,))))


def test_what_is_final_depends_on_when_it_was_requested_and_gaps_on_the_time() -> None:
    found = stored(covered(asked(JANUARY, TODAY, on=TODAY)))
    later = NOW + 30 * 86400
    (account,) = build([found], None, later, "0002").accounts
    # Without a new request nothing more becomes final; only the gap grows.
    assert account.series[0].final_through == date(2024, 3, 16)
    assert account.series[0].gaps == [Span(TODAY + ONE_DAY, date(2024, 4, 18))]


@given(
    days=st.sets(st.integers(0, 60), max_size=40),
    period=st.sampled_from(Period),
    start=st.none() | st.integers(-10, 90),
)
def test_gaps_and_coverage_tile_what_is_expected(days: set[int], period: Period, start: int | None) -> None:
    pieces = sorted({CALENDAR.floor(period, JANUARY + timedelta(day)) for day in days})
    coverage = [asked(first, CALENDAR.last(period, first)) for first in pieces]
    begin = None if start is None else JANUARY + timedelta(start)
    of = series(period=period)
    (account,) = build([stored(covered(*coverage, of=of), start=begin)], None, NOW, "0002").accounts
    found = account.series[0]
    begins = [CALENDAR.floor(period, day) for day in (begin, *pieces[:1]) if day is not None]
    missing = {
        day for gap in found.gaps for day in (gap.first + timedelta(n) for n in range((gap.last - gap.first).days + 1))
    }
    expected = set()
    if begins:
        day = min(begins)
        while CALENDAR.following(period, day) <= TODAY:
            if day not in pieces:
                expected |= {day + timedelta(n) for n in range((CALENDAR.following(period, day) - day).days)}
            day = CALENDAR.following(period, day)
    assert missing == expected
    assert found.gap_days == len(expected)
    if found.complete_through is not None:
        assert not any(day <= found.complete_through for day in missing)


# Attention


FAILURE = FailedRange(DAYS, date(2024, 2, 1), date(2024, 2, 9), "unavailable", "500 again and again", 0, 1)


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        (stored(covered(asked(JANUARY, TODAY))), None, False),
        (stored(covered(asked(JANUARY, YESTERDAY))), None, False),
        (stored(covered(asked(JANUARY, YESTERDAY - ONE_DAY))), None, True),
        (stored(covered(asked(date(2024, 2, 1), TODAY))), None, False),  # old gaps are being filled
        (stored(covered(asked(JANUARY, TODAY), failed=(FAILURE,))), None, True),
        (stored(covered(asked(JANUARY, TODAY)), state=RecordedState.PAUSED, reason="401"), None, True),
        (stored(covered(asked(JANUARY, TODAY)), state=RecordedState.WAITING, reason="no route"), None, False),
        (stored(), None, False),  # claimed once, and nothing was asked of it
        (None, configured(), True),  # never stored
        (None, configured(start=TODAY), False),  # nothing is due yet
        (None, configured(start=None), True),
    ],
)
def test_attention(found: AccountStatus | None, wanted: ConfiguredAccount | None, expected: bool) -> None:  # noqa: FBT001 - a case
    assert attention(found, wanted) is expected


# State of an account


def record(**changes: object) -> QuotaRecord:
    values = {"limit": 150, "spent": 40, "remaining": None, "resets_at": int(NOW) + 600, "server_ahead": 0.0}
    return QuotaRecord(**{**values, "recorded_at": NOW - 60, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("quota", "reserve", "remaining", "open_window"),
    [
        (record(), 0, 110, True),
        (record(), 20, 90, True),
        (record(remaining=70), 0, 70, True),  # another client spends, too
        (record(remaining=140), 0, 110, True),
        (record(spent=200), 0, 0, True),
        (record(resets_at=int(NOW)), 0, 150, False),
        (record(resets_at=int(NOW) + 5, server_ahead=10.0), 20, 130, False),
        (record(resets_at=int(NOW) - 5, server_ahead=-10.0), 0, 110, True),
        (record(resets_at=None), 0, None, False),
        (None, 0, None, False),
    ],
)
def test_the_quota(quota: QuotaRecord | None, reserve: int, remaining: int | None, *, open_window: bool) -> None:
    reported = report_on(stored(quota=quota), configured(reserve=reserve))["quota"]
    assert (reported["limit"], reported["remaining"]) == (150, remaining)
    assert (reported["resets_at"] is not None) is open_window


def test_times_are_iso_text_in_utc() -> None:
    result = as_json(build([stored(quota=record())], None, NOW, "0002"))
    assert result["generated_at"] == "2024-03-20T16:00:00Z"
    assert result["accounts"][0]["quota"]["resets_at"] == "2024-03-20T16:10:00Z"


def test_states() -> None:
    ok = report_on(stored(quota=record()))
    assert (ok["state"], ok["reason"]) == ("ok", None)
    spent = report_on(stored(quota=record(remaining=0)))
    assert (spent["state"], spent["reason"]) == ("waiting", "the quota is spent until 2024-03-20T16:10:00Z")
    over = report_on(stored(quota=record(remaining=0, resets_at=int(NOW) - 1)))
    assert (over["state"], over["reason"]) == ("ok", None)
    paused = report_on(stored(state=RecordedState.PAUSED, reason="refused", quota=record(remaining=0)))
    assert (paused["state"], paused["reason"]) == ("paused", "refused")
    reserved = report_on(stored(quota=record(remaining=0)), configured(reserve=20))
    assert reserved["state"] == "waiting"


def test_a_configured_account_that_was_never_stored_is_reported() -> None:
    result = as_json(build([], [configured(DAYS, MONTHS, limit=60)], NOW, "0002"))
    (account,) = result["accounts"]
    assert (account["name"], account["state"], account["holder"]) == ("main", "ok", None)
    assert account["quota"] == {"limit": 60, "remaining": None, "resets_at": None}
    days, months = account["series"]
    assert (days["first"], days["last"], days["final_through"]) == (None, None, None)
    assert days["gaps"] == [["2024-01-01", "2024-03-19"]]
    assert months["gaps"] == [["2024-01-01", "2024-02-29"]]


def test_series_no_longer_configured_are_only_counted() -> None:
    other = series("8005550000")
    report = build([stored(covered(asked(JANUARY, TODAY)), covered(of=other))], [configured()], NOW, "0002")
    assert [one.series for one in report.accounts[0].series] == [DAYS]
    assert report.unconfigured == 1
    assert text_of(lines(report, every_series=False))[-1].startswith("1 stored series not in the configuration")
    assert "not in the configuration" not in "".join(text_of(lines(report, every_series=True)))


def test_every_configured_series_is_expected() -> None:
    account = Account(
        name="main",
        login="a",
        phones=(Phone("ALL"), Phone("8005551234")),
        periods=(Period.DAY, Period.WEEK),
        start=JANUARY,
        quota=Quota(limit=60, reserve=5),
    )
    (found,) = configured_accounts(Settings(database=Database(url="sqlite:////v.db"), accounts={"main": account}))
    assert (found.name, found.start, found.limit, found.reserve) == ("main", JANUARY, 60, 5)
    assert len(found.series) == len(set(found.series)) == 4


def test_an_error_is_in_the_json_object() -> None:
    error = {"code": "database", "message": "gone"}
    assert as_json(build([], None, NOW, "0002"), error)["error"] == error


# Filters on the stored series


def test_filters_narrow_the_stored_series() -> None:
    other = series("8005550000", account="second")
    both = [stored(covered(of=DAYS), covered(of=WEEKS)), stored(covered(of=other), name="second")]
    assert [len(status.series) for status in narrow(both)] == [2, 1]
    assert [status.identity.name for status in narrow(both, accounts=["second"])] == ["second"]
    (found,) = narrow(both, phones=["(800) 555-1234"], periods=["week"])
    assert [one.series for one in found.series] == [WEEKS]


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"accounts": ["mian"]}, '--account "mian" is not stored; did you mean main?'),
        ({"phones": ["8005551233"]}, "did you mean 8005551234?"),
        ({"phones": ["800"]}, "--phone: "),
        ({"resources": ["volume"]}, '--resource "volume" is not stored'),
        ({"periods": ["weak"]}, "did you mean week?"),
        ({"periods": ["week"], "phones": ["8005550000"]}, "no stored series matches"),
    ],
)
def test_a_filter_that_matches_nothing_is_refused(filters: dict[str, list[str]], words: str) -> None:
    found = [stored(covered(of=DAYS), covered(of=WEEKS), covered(of=series("8005550000")))]
    with pytest.raises(UsageError) as caught:
        narrow(found, **filters)
    assert words in str(caught.value)


# As text


def test_lines_fit_a_terminal_and_name_the_series() -> None:
    failures = tuple(FAILURE._replace(first=date(2024, 2, day), last=date(2024, 2, day)) for day in range(1, 6))
    report = build(
        [
            stored(
                covered(asked(JANUARY, date(2024, 1, 31)), asked(date(2024, 2, 6), TODAY), failed=failures, absent=3),
                covered(asked(JANUARY, TODAY), of=series("ALL")),
                quota=record(),
                holder="pid 12 on here",
            )
        ],
        None,
        NOW,
        "0002",
    )
    printed = lines(report, every_series=False)
    text = text_of(printed)
    assert max(map(len, text)) <= 100
    assert "main     performance  ok          2  2024-01-01  2024-03-20  2024-01-31     5       3       5" in text
    assert "main: 110 of 150 requests left until 2024-03-20T16:10:00Z; claimed by pid 12 on here" in text
    assert "main performance 8005551234 day: missing 2024-02-01..2024-02-05" in text
    assert "main performance 8005551234 day: failed 2024-02-01..2024-02-01: 500 again and again" in text
    assert text[-1] == "main performance 8005551234 day: and 2 more failed slices"
    assert printed[-1].style is LineStyle.ERROR
    assert not any("ALL" in line for line in text)
    assert any("ALL" in line for line in text_of(lines(report, every_series=True)))


@pytest.mark.parametrize(("ahead", "words"), [(172_800.0, "2 d behind"), (-300.0, "5 min ahead of"), (30.0, "")])
def test_a_host_s_clock_that_is_off_is_named(ahead: float, words: str) -> None:
    found = stored(covered(asked(JANUARY, TODAY)), quota=replace(record(), server_ahead=ahead))
    assert report_on(found)["clock_skew_seconds"] == -ahead
    text = text_of(lines(build([found], None, NOW, "0002"), every_series=False))
    line = f"main: at the last request the host's clock was {words} the API's; set the host's clock"
    assert (line in text) == bool(words)


def test_lines_for_an_empty_and_for_a_paused_database() -> None:
    assert text_of(lines(build([], None, NOW, "0002"), every_series=True))[-1] == "nothing is stored yet"
    printed = lines(
        build([stored(state=RecordedState.PAUSED, reason="refused")], None, NOW, "0002"), every_series=False
    )
    assert Line("main: paused: refused", LineStyle.ERROR) in printed
    assert "main: no request counted yet" in text_of(printed)


def test_many_gaps_are_not_all_written_out() -> None:
    every_second = [asked(JANUARY + timedelta(2 * n), JANUARY + timedelta(2 * n)) for n in range(39)]
    text = text_of(lines(build([stored(covered(*every_second))], None, NOW, "0002"), every_series=False))
    assert text[-1].endswith(": missing 2024-01-02, 2024-01-04, 2024-01-06 and 36 more")
