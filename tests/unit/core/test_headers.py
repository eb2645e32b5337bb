"""Headers are parsed to numbers or count as absent."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.headers import (
    QuotaHeaders,
    parse_count,
    parse_date,
    parse_reset,
    parse_retry_after,
    read_quota_headers,
)

NOW = 1_517_460_300
NAMES = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "date", "retry-after")


def http_date(epoch: int) -> str:
    return formatdate(epoch, usegmt=True)


def test_a_published_answer() -> None:
    headers = {
        "x-ratelimit-limit": "150",
        "x-ratelimit-remaining": "149",
        "x-ratelimit-reset": "1517461200",
        "date": http_date(NOW),
    }
    assert read_quota_headers(headers) == QuotaHeaders(limit=150, remaining=149, reset=1_517_461_200, date=NOW)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        (" 150 ", 150),
        ("150, 150", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("1e2", None),
        (None, None),
        ("٣", None),
        ("9" * 10, None),
        ("9" * 10000, None),
        ("0x10", None),
        ("1_000", None),
    ],
)
def test_counts(text: str | None, count: int | None) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "reset"),
    [
        ("1517461200", 1517461200),
        ("1517461200000", 1517461200),
        ("1517461200001", 1517461201),
        ("900", None),
        ("0", None),
        ("-900", None),
        ("99999999999", None),
        ("1e9", None),
        ("soon", None),
        (None, None),
    ],
)
def test_resets(text: str | None, reset: int | None) -> None:
    assert parse_reset(text) == reset


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("86400", 86400),
        ("86401", None),
        ("-5", None),
        ("2.5", None),
        ("nan", None),
        (http_date(NOW + 30), 30),
        (http_date(NOW - 30), 0),
        (http_date(NOW + 200000), None),
        ("in a while", None),
    ],
)
def test_retry_after(text: str, seconds: int | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


def test_a_retry_date_needs_a_date_to_count_from() -> None:
    assert parse_retry_after(http_date(NOW), None) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Mon, 32 Jan 2018 00:00:00 GMT",
        "Thu, 01 Jan 99999 00:00:00 GMT",
    ],
)
def test_invalid_dates(text: str) -> None:
    assert parse_date(text) is None


def test_the_forms_of_a_date() -> None:
    forms = ("Thu, 01 Feb 2018 04:45:00 GMT", "Thursday, 01-Feb-18 04:45:00 GMT", "Thu Feb  1 04:45:00 2018")
    assert {parse_date(form) for form in forms} == {NOW}


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=80) | st.integers().map(str)))
def test_any_headers_are_parsed_without_an_error(headers: dict[str, str]) -> None:
    parsed = read_quota_headers(headers)
    for value in (parsed.limit, parsed.remaining, parsed.retry_after, parsed.reset, parsed.date):
        assert value is None or value >= 0
    assert parsed.reset is None or 946_684_800 <= parsed.reset < 4_102_444_800
