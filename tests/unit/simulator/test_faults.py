"""Frequency and effect of the faults."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import fields
from math import isnan
from typing import TYPE_CHECKING

import pytest

from harvester.simulator.api import SimulatedApi
from harvester.simulator.faults import FAULT_NAMES, Ending, Fault, Faults
from harvester.simulator.options import Options
from tests.support.simulation import direct_account, get, header, post_auth, refused_per_window

if TYPE_CHECKING:
    from harvester.simulator.request import Reply

_NOW = 1_718_000_000.0
_ACCOUNT = direct_account()
_PATH = "/api/performance/20240101/20240110/day/8005551234"


def _reply_with(fault: Fault, options: Options | None = None) -> tuple[SimulatedApi, Reply]:
    api = SimulatedApi([_ACCOUNT], options or Options())
    api.inject(fault)
    return api, get(api, _PATH, _NOW, _ACCOUNT)


def test_every_kind_has_its_probability() -> None:
    assert set(FAULT_NAMES) == {fault.value for fault in Fault}
    assert {item.name for item in fields(Faults)} == {*FAULT_NAMES, "slow_seconds"}


def test_faults_have_their_probabilities() -> None:
    faults = Faults(cut=0.2, junk=0.1)
    drawn = Counter(faults.draw(1, number) for number in range(2000))
    assert 320 < drawn[Fault.CUT] < 480
    assert 140 < drawn[Fault.JUNK] < 260
    assert set(drawn) == {Fault.CUT, Fault.JUNK, None}


def test_a_slice_gets_the_same_faults_whatever_else_is_requested() -> None:
    options = Options(seed=5, faults=Faults(server_error=0.3, drop=0.3))

    def replies_beside(others: int) -> list[tuple[int, Ending]]:
        api = SimulatedApi([_ACCOUNT], options)
        replies = []
        for _ in range(10):
            for other in range(others):
                get(api, f"/api/profile/20240101/20240101/day/{8005550000 + other}", _NOW, _ACCOUNT)
            replies.append(get(api, _PATH, _NOW, _ACCOUNT))
        return [(reply.status, reply.ending) for reply in replies]

    assert replies_beside(0) == replies_beside(3)
    assert len(set(replies_beside(0))) > 1


@pytest.mark.parametrize("odds", [{"cut": -0.1}, {"cut": 0.6, "junk": 0.6}, {"slow_seconds": -1.0}])
def test_impossible_odds_are_refused(odds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Faults(**odds)


@pytest.mark.parametrize(("fault", "status"), [(Fault.BAD_GATEWAY, 502), (Fault.UNAVAILABLE, 503), (Fault.HTML, 200)])
def test_a_proxy_answers_with_a_page_and_the_request_does_not_count(fault: Fault, status: int) -> None:
    api, reply = _reply_with(fault)
    assert reply.status == status
    assert reply.body.startswith(b"<!DOCTYPE html>")
    assert header(reply, "X-RateLimit-Limit") is None
    assert api.quota().remaining(_NOW) == 150
    # The client cannot know that it did not count, so it is compared with the limit.
    assert list(api.requests_per_window().values()) == [1]


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        (Fault.SERVER_ERROR, 500, "Unknown error."),
        (Fault.DEAD, 401, "Unauthorized."),
        (Fault.THROTTLE, 429, "Rate limit exceeded."),
    ],
)
def test_errors_of_the_api_itself(fault: Fault, status: int, error: str) -> None:
    api, reply = _reply_with(fault)
    assert (reply.status, json.loads(reply.body)) == (status, {"error": error})
    assert api.quota().remaining(_NOW) == 150 - (fault is not Fault.THROTTLE)
    assert sum(refused_per_window(api).values()) == (fault is Fault.THROTTLE)


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        (Fault.DROP, Ending.CLOSED),
        (Fault.DROP_BODY, Ending.CUT),
        (Fault.CUT, Ending.CUT),
        (Fault.CUT_CHUNKED, Ending.CUT_CHUNKED),
    ],
)
def test_a_lost_answer_counts_and_is_never_whole(fault: Fault, ending: Ending) -> None:
    api, reply = _reply_with(fault)
    assert reply.ending is ending
    assert reply.sent < len(reply.body)
    assert api.quota().remaining(_NOW) == 149


def test_slow_answers() -> None:
    options = Options(faults=Faults(slow_seconds=7.0), latency=2.0)
    assert _reply_with(Fault.SLOW, options)[1].delay == 8.0
    assert _reply_with(Fault.SLOW_BODY, options)[1].pace == 7.0


def test_junk_is_not_text() -> None:
    _, reply = _reply_with(Fault.JUNK)
    assert header(reply, "Content-Type") == "application/json"
    with pytest.raises(UnicodeDecodeError):
        reply.body.decode()


def test_irregular_answers_are_well_formed() -> None:
    bodies = {
        fault: json.loads(_reply_with(fault)[1].body)
        for fault in Fault
        if fault.value in {"absent", "truncated", "nulls", "nan", "unknown", "slow"}
    }
    unchanged = bodies[Fault.SLOW]
    epochs = list(unchanged["calls"])
    assert {len(values) for values in bodies[Fault.ABSENT].values()} == {9}
    assert {tuple(values) for values in bodies[Fault.TRUNCATED].values()} == {tuple(epochs[:5])}
    assert set(bodies[Fault.UNKNOWN]) - set(unchanged) == {"speech_minutes"}
    nulls = [value for values in bodies[Fault.NULLS].values() for value in values.values() if value is None]
    assert len(nulls) == 1
    assert sum(isnan(value) for values in bodies[Fault.NAN].values() for value in values.values()) == 1


def test_an_injected_fault_applies_to_its_path_and_number_of_requests() -> None:
    api = SimulatedApi([_ACCOUNT])
    api.inject(Fault.SERVER_ERROR, times=2, where="8005551234")
    other = _PATH.replace("1234", "9999")
    statuses = [get(api, path, _NOW, _ACCOUNT).status for path in (other, _PATH, other, _PATH, _PATH)]
    assert statuses == [200, 500, 200, 500, 200]
    assert [visit.fault for visit in api.journal].count(Fault.SERVER_ERROR) == 2


def test_an_injected_fault_is_for_data_unless_it_names_auth() -> None:
    api = SimulatedApi([_ACCOUNT])
    api.inject(Fault.SERVER_ERROR)
    api.inject(Fault.UNAVAILABLE, where="/auth")
    assert post_auth(api, _NOW).status == 503
    assert get(api, _PATH, _NOW, _ACCOUNT).status == 500
    api.inject(Fault.SERVER_ERROR)
    api.injected.clear()
    assert get(api, _PATH, _NOW, _ACCOUNT).status == 200
    with pytest.raises(ValueError, match="at least 1"):
        api.inject(Fault.CUT, times=0)


def test_auth_has_faults_of_its_own() -> None:
    api = SimulatedApi([_ACCOUNT], Options(auth_faults=Faults(server_error=1.0)))
    assert post_auth(api, _NOW).status == 500
    assert get(api, _PATH, _NOW, _ACCOUNT).status == 200
