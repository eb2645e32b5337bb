"""The search for calendars that timestamps fit; test_normalize and test_calendar_detection test its users."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.period import Calendar, Period, WeekStart
from harvester.parsing.calendar_check import ZONES, instant_of, matching_calendars
from tests.support.examples import examples

calendars = st.builds(Calendar, st.sampled_from(ZONES).map(ZoneInfo), st.sampled_from(WeekStart))


@pytest.mark.parametrize("name", ZONES)
def test_every_zone_that_is_tried_exists(name: str) -> None:
    assert ZoneInfo(name).key == name


@given(st.sampled_from(Period), calendars, calendars, st.dates(date(2001, 1, 1), date(2030, 1, 1)))
@examples(60)
def test_matches_are_the_zones_in_which_each_instant_begins_a_period(
    period: Period, server: Calendar, configured: Calendar, first: date
) -> None:
    instants = server.grid(period, first, first + timedelta(days=200))
    found = list(matching_calendars(instants, period, configured))
    for match in found:
        assert match.week_start is configured.week_start
        assert instants.keys() <= match.grid(period, first - timedelta(days=7), first + timedelta(days=207)).keys()
    zones = [match.zone.key for match in found]
    assert len(set(zones)) == len(zones)
    if period is not Period.WEEK or server.week_start is configured.week_start:
        assert server.zone.key in zones
    assert configured.zone.key not in zones[1:]
    others = [zone for zone in zones if zone != configured.zone.key]
    assert others == sorted(others, key=ZONES.index)


def test_a_configured_zone_outside_the_list_is_tried_first() -> None:
    noumea = Calendar(ZoneInfo("Pacific/Noumea"))
    instants = noumea.grid(Period.DAY, date(2024, 3, 1), date(2024, 3, 9))
    assert next(matching_calendars(instants, Period.DAY, noumea)) == noumea


@pytest.mark.parametrize(
    ("text", "instant"),
    [("1517461200", 1517461200), ("10000000", 10_000_000), ("4102444799", 4_102_444_799)]
    + [(text, None) for text in ("", "0", "01517461200", "4102444800", "1517461200000", "1517461200.0", " 1517461200")],
)
def test_a_timestamp_is_a_plain_epoch_second_before_2100(text: str, instant: int | None) -> None:
    assert instant_of(text) == instant
