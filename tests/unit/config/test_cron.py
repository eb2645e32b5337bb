from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given
from hypothesis import strategies as st

from harvester.config.cron import cron_fields, parse, ticks_per_day
from tests.support.examples import examples

NOON = datetime(2024, 2, 28, 12, 0, tzinfo=UTC)


def next_tick(text: str, after: datetime) -> datetime:
    found = CronTrigger(**cron_fields(text), timezone="UTC").get_next_fire_time(None, after)
    assert isinstance(found, datetime)
    return found


@pytest.mark.parametrize("weekday", ["0", "7", "sun", "SUN", "7-7"])
def test_sunday_has_three_names(weekday: str) -> None:
    assert next_tick(f"0 0 * * {weekday}", NOON) == datetime(2024, 3, 3, tzinfo=UTC)


def test_monday_is_one() -> None:
    assert next_tick("0 0 * * 1", NOON) == datetime(2024, 3, 4, tzinfo=UTC)


def test_ranges_of_weekdays_reach_sunday() -> None:
    assert parse("0 0 * * 5-7").weekdays == parse("0 0 * * fri-sun").weekdays == {5, 6, 0}
    assert parse("0 0 * * 0-7").weekdays == set(range(7))


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("5", {5}),
        ("*/20", {0, 20, 40}),
        ("50/5", {50, 55}),
        ("1-10/4,7", {1, 5, 7, 9}),
        ("*/60", {0}),
    ],
)
def test_minutes(text: str, minutes: set[int]) -> None:
    assert parse(f"{text} * * * *").minutes == minutes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * *",
        "@hourly",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "*/ * * * *",
        "5-1 * * * *",
        "1,,2 * * * *",
        "-1 * * * *",
        "* * * foo *",
        "* * * * 1-2-3",
        "0 0 31 2 *",
        "0 0 31 4,6 *",
        "0 0 1 * 1",
        "\N{SUPERSCRIPT TWO} * * * *",
        "\N{ARABIC-INDIC DIGIT TWO} * * * *",
        "1" * 5000 + " * * * *",
    ],
)
def test_an_invalid_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_the_twenty_ninth_of_february_occurs() -> None:
    assert next_tick("0 0 29 2 *", NOON) == datetime(2024, 2, 29, tzinfo=UTC)


FIELD = st.sampled_from(["*", "*/7", "3", "1-5", "2,4", "5/2"])


@given(FIELD, FIELD, st.sampled_from(["*", "1", "29-31", "*/2"]), st.sampled_from(["*", "feb", "1-6", "*/3"]))
@examples(25)
def test_the_scheduler_fires_when_the_sets_say_so(minute: str, hour: str, day: str, month: str) -> None:
    text = f"{minute} {hour} {day} {month} *"
    found = parse(text)
    tick = next_tick(text, NOON)
    assert tick.minute in found.minutes
    assert tick.hour in found.hours
    assert tick.day in found.days
    assert tick.month in found.months
    skipped = NOON
    while skipped < min(tick, NOON + timedelta(days=3)):
        matches = skipped.minute in found.minutes and skipped.hour in found.hours
        assert not (matches and skipped.day in found.days and skipped.month in found.months)
        skipped += timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        ("5 * * * *", 24.0),
        ("*/15 * * * *", 96.0),
        ("0 6,18 * * 1-5", 2 * 5 / 7),
        ("0 0 1 * *", 12 / 365.25),
        ("0 0 31 * *", 7 / 365.25),
        ("0 0 29 2 *", 0.25 / 365.25),
        ("0 0 * * 7", 1 / 7),
    ],
)
def test_ticks_per_day(text: str, ticks: float) -> None:
    assert ticks_per_day(text) == pytest.approx(ticks)
