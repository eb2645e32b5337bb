"""An answer checked against its slice: stored, rejected, absent, failed, or from another calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.metric_catalogue import METRICS, known_metrics
from harvester.core.model import RESOURCES, Batch, InvalidValue, Page, Raw, Series, Slice
from harvester.core.period import Calendar, Period, WeekStart
from harvester.errors import CalendarMismatch, PayloadError
from harvester.parsing.calendar_check import ZONES
from harvester.parsing.normalize import MAX_REJECTS, normalize
from harvester.parsing.payload import parse_metrics
from tests.support.examples import examples

NEW_YORK = Calendar(ZoneInfo("America/New_York"))
FIRST, LAST = date(2024, 3, 8), date(2024, 3, 12)  # the clock changes on the tenth
GRID = NEW_YORK.grid(Period.DAY, FIRST, LAST)
EPOCHS = list(GRID)
FULL: list[tuple[str, Raw]] = [(str(epoch), number) for number, epoch in enumerate(EPOCHS)]


def check(
    metrics: Mapping[str, Sequence[tuple[str, Raw]]],
    *,
    period: Period = Period.DAY,
    first: date = FIRST,
    last: date = LAST,
    calendar: Calendar = NEW_YORK,
) -> Batch:
    piece = Slice(Series("main", "performance", "ALL", period), first, last)
    return normalize(Page(piece, 1_710_300_000, metrics), calendar)


def answer_of(
    zone: str, period: Period, first: date, last: date, start: WeekStart = WeekStart.SUNDAY
) -> Mapping[str, Sequence[tuple[str, Raw]]]:
    """Return the answer of a server in that zone."""
    return {"calls": [(str(epoch), 1) for epoch in Calendar(ZoneInfo(zone), start).grid(period, first, last)]}


def test_every_resource_has_a_catalogue() -> None:
    assert all(known_metrics(resource) for resource in RESOURCES)
    assert len({(metric.resource, metric.name) for metric in METRICS}) == len(METRICS)


def test_a_whole_answer_is_stored_as_doubles() -> None:
    batch = check({"calls": FULL, "average_page_load": [(str(EPOCHS[0]), 0.5), (str(EPOCHS[1]), None)]})
    assert batch.grid == GRID
    assert batch.values["calls"] == [(epoch, float(number)) for number, epoch in enumerate(EPOCHS)]
    assert all(type(value) is float for _, value in batch.values["calls"])
    assert batch.values["average_page_load"] == [(EPOCHS[0], 0.5), (EPOCHS[1], None)]
    assert (batch.rejects, batch.absent, batch.sent_at) == ([], [], 1_710_300_000)


def test_zero_has_one_sign() -> None:
    ((_, value),) = check({"calls": [(str(EPOCHS[0]), -0.0)]}).values["calls"]
    assert str(value) == "0.0"


@pytest.mark.parametrize("metrics", [{}, {"calls": []}, {"calls": [], "brand_new": []}])
def test_an_empty_answer_has_no_periods(metrics: dict[str, list[tuple[str, Raw]]]) -> None:
    batch = check(metrics)
    assert batch.absent == list(GRID.values())
    assert not any(batch.values.values())


def test_absent_is_what_no_metric_has() -> None:
    batch = check({"calls": FULL[:2], "js_errors": FULL[1:3], "brand_new": FULL[3:4]})
    assert batch.absent == [LAST]


def test_a_null_and_a_reject_are_not_absent() -> None:
    batch = check({"calls": [*FULL[:3], (FULL[3][0], None), (FULL[4][0], InvalidValue("NaN", "not a finite number"))]})
    assert batch.absent == []
    assert batch.values["calls"][-1] == (EPOCHS[3], None)
    assert batch.rejects == [("calls", FULL[4][0], "NaN", "not a finite number")]


@pytest.mark.parametrize(
    "metrics",
    [
        {"uptime": FULL},
        {"callers": FULL},  # another resource's
        {"calls": [("", InvalidValue("5", "no map of timestamps"))]},
        {"calls": [("2024-03-08", 1)]},
        {"calls": [("1709874000000", 1), ("1709960400000", 1)]},
        {f"m{number}": FULL for number in range(300)} | {"calls": FULL},
    ],
    ids=["unknown", "other resource", "no map", "dates", "milliseconds", "too many"],
)
def test_the_answer_of_another_server_fails(metrics: dict[str, list[tuple[str, Raw]]]) -> None:
    with pytest.raises(PayloadError):
        check(metrics)


def test_an_answer_to_other_days_fails() -> None:
    with pytest.raises(PayloadError, match="no entry within"):
        check(answer_of("America/New_York", Period.DAY, date(2023, 1, 1), date(2023, 1, 9)))


def test_an_unknown_metric_is_stored() -> None:
    assert check({"calls": FULL, "brand.new-1": FULL}).values["brand.new-1"] == check({"calls": FULL}).values["calls"]


def test_an_unknown_metric_shows_no_calendar() -> None:
    batch = check({"calls": FULL, "hours": [("0", 1), ("3600", 2), (str(EPOCHS[0] + 3600), 3), (FULL[0][0], 4)]})
    assert batch.values["hours"] == [(EPOCHS[0], 4.0)]
    assert len(batch.rejects) == 3


@pytest.mark.parametrize("name", ["calls to agents", "naïve", "US Toll-Free", "a/b"])
def test_any_printable_name_is_accepted_for_a_metric(name: str) -> None:
    assert check({"calls": FULL, name: FULL}).values[name]


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 65, "calls\n"])
def test_an_invalid_name_is_one_reject(name: str) -> None:
    batch = check({"calls": FULL, name: FULL})
    assert list(batch.values) == ["calls"]
    ((metric, stamp, value, reason),) = batch.rejects
    assert metric.isascii()
    assert (stamp, value, reason) == ("", "5 entries", "no name for a metric")


@pytest.mark.parametrize(
    ("stamp", "reason"),
    [
        (str(EPOCHS[0] - 86_400), "outside the slice, or no start of a period"),
        (str(EPOCHS[0] + 1), "outside the slice, or no start of a period"),
        (f"{EPOCHS[0]}.0", "the key is no timestamp in seconds"),
        (f" {EPOCHS[0]}", "the key is no timestamp in seconds"),
        (f"+{EPOCHS[0]}", "the key is no timestamp in seconds"),
        (f"0{EPOCHS[0]}", "the key is no timestamp in seconds"),
        ("9" * 5000, "the key is no timestamp in seconds"),
        ("\ud800\0", "the key is no timestamp in seconds"),
        ("total", "the key is no timestamp in seconds"),
    ],
)
def test_a_stray_key_is_a_reject_and_the_others_are_stored(stamp: str, reason: str) -> None:
    batch = check({"calls": [*FULL, (stamp, 7)]})
    assert len(batch.values["calls"]) == 5
    (reject,) = batch.rejects
    assert (reject.metric, reject.value, reject.reason) == ("calls", "7", reason)
    assert reject.timestamp.isascii()
    assert len(reject.timestamp) <= 200


def test_rejects_beyond_a_thousand_are_counted_and_spoil_nothing() -> None:
    invalid: list[tuple[str, Raw]] = [(f"k{number}", number) for number in range(MAX_REJECTS)]
    batch = check({"js_errors": FULL, "calls": [*FULL, *invalid], "extra": [("x", 1), ("y", 2)]})
    assert [len(values) for values in batch.values.values()] == [5, 5, 0]
    assert len(batch.rejects) == MAX_REJECTS + 1
    assert batch.rejects[-1] == ("extra", "", "2 entries", "too many to list one by one")


def test_a_key_that_comes_twice_yields_no_value() -> None:
    batch = check({"calls": [*FULL, (FULL[0][0], 99)], "js_errors": FULL})
    assert [epoch for epoch, _ in batch.values["calls"]] == EPOCHS[1:]
    assert [(reject.value, reject.reason) for reject in batch.rejects] == [
        ("0", "the timestamp comes twice"),
        ("99", "the timestamp comes twice"),
    ]
    assert len(batch.values["js_errors"]) == 5
    assert batch.absent == []


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("America/Chicago", date(2024, 3, 8)),
        ("America/Los_Angeles", date(2024, 3, 8)),
        ("UTC", date(2024, 3, 8)),
        ("Etc/GMT+5", date(2024, 3, 8)),  # New York without daylight saving, as the spring shows
        ("Europe/Berlin", date(2024, 7, 1)),
        ("Asia/Kolkata", date(2024, 7, 1)),
        ("Pacific/Auckland", date(2024, 7, 1)),  # the same midnights as a zone a day apart
    ],
)
@pytest.mark.parametrize("period", [Period.DAY, Period.MONTH])
def test_days_of_another_zone_name_the_zone(zone: str, first: date, period: Period) -> None:
    if period is Period.MONTH:
        first = first.replace(day=1)
    last = NEW_YORK.last(period, first + timedelta(days=70))
    with pytest.raises(CalendarMismatch, match="timezone") as caught:
        check(answer_of(zone, period, first, last), period=period, first=first, last=last)
    assert (caught.value.setting, caught.value.fits) == ("timezone", zone)


def test_one_day_of_another_zone_is_enough_when_there_is_no_other() -> None:
    with pytest.raises(CalendarMismatch) as caught:
        check(answer_of("UTC", Period.DAY, FIRST, FIRST), last=FIRST)
    assert caught.value.fits == "UTC"


def test_two_stray_instants_over_all_metrics_are_a_mismatch() -> None:
    with pytest.raises(CalendarMismatch) as caught:
        check({"calls": [*FULL, (str(EPOCHS[0] + 60), 1)], "js_errors": [*FULL, (str(EPOCHS[1] + 60), 1)]})
    assert (caught.value.setting, caught.value.fits) == ("timezone", None)


def test_the_same_stray_instant_in_every_metric_is_one() -> None:
    stray = (str(EPOCHS[0] + 60), 1)
    assert len(check({"calls": [*FULL, stray], "js_errors": [*FULL, stray]}).rejects) == 2


@pytest.mark.parametrize(
    ("ours", "theirs"), [(WeekStart.SUNDAY, WeekStart.MONDAY), (WeekStart.MONDAY, WeekStart.SUNDAY)]
)
def test_weeks_from_another_day_name_the_week_start(ours: WeekStart, theirs: WeekStart) -> None:
    calendar = Calendar(NEW_YORK.zone, ours)
    first = calendar.floor(Period.WEEK, FIRST)
    last = calendar.last(Period.WEEK, first + timedelta(days=30))
    answer = answer_of("America/New_York", Period.WEEK, first, last, theirs)
    with pytest.raises(CalendarMismatch, match="week_start") as caught:
        check(answer, period=Period.WEEK, first=first, last=last, calendar=calendar)
    assert (caught.value.setting, caught.value.fits) == ("week_start", theirs.value)


def test_weeks_from_a_wednesday_fit_no_setting() -> None:
    first, last = date(2024, 3, 3), date(2024, 3, 23)
    answer: dict[str, Sequence[tuple[str, Raw]]] = {
        "calls": [(str(NEW_YORK.midnight(day)), 1) for day in (date(2024, 3, 6), date(2024, 3, 13))]
    }
    with pytest.raises(CalendarMismatch, match="Wednesday") as caught:
        check(answer, period=Period.WEEK, first=first, last=last)
    assert (caught.value.setting, caught.value.fits) == ("week_start", None)


@pytest.mark.parametrize("start", WeekStart)
def test_weeks_of_another_zone_name_the_zone_first(start: WeekStart) -> None:
    first, last = date(2024, 3, 3), date(2024, 3, 30)
    with pytest.raises(CalendarMismatch) as caught:
        check(answer_of("America/Denver", Period.WEEK, first, last, start), period=Period.WEEK, first=first, last=last)
    assert (caught.value.setting, caught.value.fits) == ("timezone", "America/Denver")


@given(
    period=st.sampled_from(Period),
    first=st.dates(date(2001, 1, 1), date(2030, 1, 1)),
    days=st.integers(0, 60),
    zone=st.sampled_from(ZONES),
    start=st.sampled_from(WeekStart),
)
@examples(40)
def test_an_answer_in_the_configured_calendar_is_stored_whole(
    period: Period, first: date, days: int, zone: str, start: WeekStart
) -> None:
    calendar = Calendar(ZoneInfo(zone), start)
    first = calendar.floor(period, first)
    last = first + timedelta(days=days)
    metrics = answer_of(zone, period, first, last, start)
    batch = check(metrics, period=period, first=first, last=last, calendar=calendar)
    assert [str(epoch) for epoch, _ in batch.values["calls"]] == [stamp for stamp, _ in metrics["calls"]]
    assert (batch.rejects, batch.absent) == ([], [])


KEYS = st.sampled_from([stamp for stamp, _ in FULL]) | st.text(max_size=3) | st.integers(0, 10**13).map(str)
RAWS = (
    st.none() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.just(InvalidValue("x", "y"))
)


@given(
    st.dictionaries(
        st.sampled_from(["calls", "js_errors", "new"]) | st.text(max_size=3),
        st.lists(st.tuples(KEYS, RAWS), max_size=6),
    )
)
@examples(100)
def test_no_entry_is_lost_and_none_is_stored_twice(metrics: dict[str, list[tuple[str, Raw]]]) -> None:
    try:
        batch = check(metrics)
    except (PayloadError, CalendarMismatch):
        return
    for name, values in batch.values.items():
        epochs = [epoch for epoch, _ in values]
        assert len(set(epochs)) == len(epochs)
        assert set(epochs) <= GRID.keys()
        assert len(values) + sum(reject.metric == name for reject in batch.rejects) == len(metrics[name])


def test_the_published_answer_fits_new_york() -> None:
    body = b'{"calls":{"1517461200":0,"1517547600":3},"average_page_load":{"1517461200":0.045,"1517547600":0}}'
    batch = check(parse_metrics(body), first=date(2018, 2, 1), last=date(2018, 2, 2))
    assert batch.values["calls"] == [(1517461200, 0.0), (1517547600, 3.0)]
