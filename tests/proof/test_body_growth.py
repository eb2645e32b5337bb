"""The time to read a hostile body grows with its length, not with the square of it.

Compared is the CPU time of one body with that of one eight times as long, in the same run: linear work takes eight
times as long, quadratic work 64 times. `make fuzz` also stops at an input that takes too long for its length.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date

import pytest

from harvester.core.metric_catalogue import known_metrics
from harvester.core.model import Page, Series, Slice
from harvester.core.period import Period
from harvester.errors import HarvesterError
from harvester.parsing.normalize import normalize
from harvester.parsing.payload import parse_metrics
from harvester.redaction import Redactor
from harvester.source.responses import error_of, redact_metrics
from tests.support.answers import CALENDAR

LONGER = 8
MOST = 40  # times the CPU time, between the 8 of linear and the 64 of quadratic work
PIECE = Slice(Series("main", "performance", "8005551234", Period.DAY), date(2018, 2, 1), date(2018, 2, 8))


def json_map(entry: bytes) -> Callable[[int], bytes]:
    return lambda count: b'{"calls":{' + b",".join([entry] * count) + b"}}"


def json_members(member: bytes) -> Callable[[int], bytes]:
    return lambda count: b"{" + b",".join([member] * count) + b"}"


def xml(element: bytes) -> Callable[[int], bytes]:
    return lambda count: b"<result>" + element * count + b"</result>"


# How to make a body, and a size that takes some milliseconds and keeps to the limits when it is eight times as large.
BODIES: dict[str, tuple[Callable[[int], bytes], int]] = {
    "one metric's name again and again": (json_members(b'"calls":{"1517461200":1}'), 4_000),
    "an unknown name again and again": (json_members(b'"k":{"k":[]}'), 3_000),
    "one name in XML again and again": (xml(b"<calls/>"), 12_000),
    "one map in XML again and again": (xml(b'<calls><item timestamp="1517461200">1</item></calls>'), 3_000),
    "integers of thousands of digits": (json_map(b'"1517461200":' + b"9" * 4_299), 450),
    "one integer": (lambda count: b'{"calls":{"1":' + b"9" * count + b"}}", 300_000),
    "one fraction": (lambda count: b'{"calls":{"1":0.' + b"9" * count + b"}}", 300_000),
    "one key again and again": (json_map(b'"1517461200":1'), 12_000),
    "keys that are no timestamps": (json_map(b'"k":{}'), 4_000),
    "a long name": (lambda count: b'{"' + b"k" * count + b'":[]}', 500_000),
    "an error that names parameters": (lambda count: b'{"error":"' + b"range " * count + b'"}', 60_000),
    "an error that repeats the number": (lambda count: b'{"error":"' + b"8005551234" * count + b'"}', 40_000),
}


def read(body: bytes, status: int) -> None:
    """Do with a body what the source and the runner do."""
    redactor = Redactor("hunter2secret")
    redactor.add_login("me@example.com", "hunter2secret")
    try:
        error = error_of(status, body, phone=PIECE.series.phone, generation=1, redactor=redactor)
        if error is None:
            metrics = redact_metrics(parse_metrics(body), known_metrics("performance"), redactor)
            normalize(Page(PIECE, 1_518_200_000, metrics), CALENDAR)
    except HarvesterError:
        pass  # refusing is as good as reading, if it is quick


def cpu(body: bytes, status: int) -> float:
    """The least CPU time of two readings, in seconds."""
    times = []
    for _ in range(2):
        began = time.process_time()
        read(body, status)
        times.append(time.process_time() - began)
    return min(times)


@pytest.mark.parametrize("name", BODIES)
def test_a_longer_body_takes_proportionally_longer(name: str) -> None:
    make, size = BODIES[name]
    status = 400 if name.startswith("an error") else 200
    short, long = cpu(make(size), status), cpu(make(LONGER * size), status)
    assert long <= MOST * max(short, 0.002), f"{short:.4f} s, then {long:.4f} s"
