from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.console.text import counted, duration, utc_time

SECONDS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
NEXT = {86_400: 3_600, 3_600: 60, 60: 1, 1: 1}


def parsed(text: str) -> list[tuple[int, int]]:
    """Count and size in seconds of each unit."""
    words = text.split()
    return [(int(count), SECONDS[unit]) for count, unit in zip(words[::2], words[1::2], strict=True)]


def total(text: str) -> int:
    return sum(count * size for count, size in parsed(text))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.2, "1 s"), (59.1, "1 min"), (750, "12 min 30 s"), (3600, "1 h"), (5400, "1 h 30 min"),
        (19_230, "5 h 20 min"), (86_400, "1 d"), (300_000, "3 d 11 h"), (-5, "0 s"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.integers(0, 10**8))
def test_a_duration_is_read_back_to_its_smaller_unit(seconds: int) -> None:
    parts = parsed(duration(seconds))
    smallest = NEXT[parts[0][1]]
    assert total(duration(seconds)) <= seconds < total(duration(seconds)) + smallest
    assert len(parts) <= 2
    assert all(count < larger // size for (_, larger), (count, size) in pairwise(parts))


@given(st.floats(0, 10**8), st.floats(0, 10**8))
def test_a_longer_duration_never_reads_as_a_shorter_one(one: float, other: float) -> None:
    shorter, longer = sorted((one, other))
    assert total(duration(shorter)) <= total(duration(longer))


def test_one_is_singular_and_thousands_have_commas() -> None:
    assert [counted(number, "slice") for number in (0, 1, 2, 1200)] == [
        "0 slices",
        "1 slice",
        "2 slices",
        "1,200 slices",
    ]


@given(st.floats(0, 4e9))
def test_a_moment_is_read_back_to_the_second_and_names_its_zone(epoch: float) -> None:
    text = utc_time(epoch)
    assert text.endswith("Z")
    assert datetime.fromisoformat(text).timestamp() == int(epoch)
