"""Outages through the whole runner, in virtual time: told apart from a failing slice, survived, or detected."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from harvester.errors import Unreachable
from harvester.events import Event
from harvester.simulator.faults import Fault, Faults
from harvester.simulator.options import Account, Options
from tests.support.in_process import NetworkState
from tests.support.rig import START, Desired, Rig

NEAR = Options(latency=0.02)
PHONES = tuple(f"800555{number:04}" for number in range(20))
YEARS = Desired(phones=PHONES)  # a slice each
MONTHS = Desired(phones=PHONES[:6], max_days=31)  # twelve slices each: half a window
FOR_EVER = START + 1e9
DIRECT = Account(direct=True)
DOWN = [NetworkState.REFUSED, NetworkState.NO_ROUTE, NetworkState.UNDELIVERED, NetworkState.UNANSWERED]


@pytest.mark.parametrize("state", DOWN)
@pytest.mark.parametrize("concurrency", [1, 8, 32])
@pytest.mark.parametrize("account", [Account(), DIRECT], ids=["tool", "direct"])
@pytest.mark.parametrize("phones", [1, 2, 20])
def test_a_missing_server_is_detected_within_three_minutes(
    tmp_path: Path, state: NetworkState, concurrency: int, account: Account, phones: int
) -> None:
    rig = Rig(tmp_path / "store.db", replace(YEARS, phones=PHONES[:phones], concurrency=concurrency), account=account)
    rig.wire.outages.append((START, FOR_EVER, state))
    process = rig.run()
    assert isinstance(process.error, Unreachable)
    assert 30 <= process.elapsed <= 180, "not given up at once either"
    assert process.report.requests == rig.wire.sent <= 2 * concurrency, (
        "while the quota is unknown one request goes first"
    )


@pytest.mark.parametrize("fault", ["server_error", "html", "bad_gateway", "unavailable", "drop", "junk", "cut"])
@pytest.mark.parametrize("concurrency", [1, 32])
def test_an_api_without_usable_answers_is_detected_within_three_minutes(
    tmp_path: Path, fault: str, concurrency: int
) -> None:
    faulty = Faults(**{fault: 1.0})
    rig = Rig(tmp_path / "store.db", replace(YEARS, concurrency=concurrency), replace(NEAR, faults=faulty))
    process = rig.run()
    assert isinstance(process.error, Unreachable)
    assert 30 <= process.elapsed <= 180
    assert process.report.requests == len(rig.visits) <= 26, "twenty and the probes"
    assert not process.report.failed


@pytest.mark.parametrize("state", DOWN)
def test_an_outage_is_detected_as_fast_in_the_middle_of_a_run(tmp_path: Path, state: NetworkState) -> None:
    rig = Rig(tmp_path / "store.db", MONTHS, NEAR)
    rig.wire.outages.append((START + 2, FOR_EVER, state))
    process = rig.run()
    assert isinstance(process.error, Unreachable)
    assert process.elapsed <= 2 + 180
    assert not process.report.failed
    assert process.report.slices.done > 20
    rig.wire.outages.clear()
    assert rig.run().error is None, "the same command continues"
    assert rig.rows() == rig.truth()


@pytest.mark.parametrize("state", DOWN)
@pytest.mark.parametrize("concurrency", [1, 8, 32])
def test_an_outage_of_twenty_seconds_is_survived(tmp_path: Path, state: NetworkState, concurrency: int) -> None:
    rig = Rig(tmp_path / "store.db", replace(MONTHS, concurrency=concurrency), NEAR)
    rig.wire.outages.append((START + 2, START + 22, state))
    process = rig.run()
    assert process.error is None
    assert not process.report.failed
    assert rig.rows() == rig.truth()
    assert process.report.requests == rig.wire.sent
    # Two time-outs one after the other are the longest that a request can take from its slice.
    assert process.elapsed < 22 + 2 * 60 + 10


def test_probes_go_one_at_a_time_with_growing_pauses(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", YEARS, replace(NEAR, faults=Faults(bad_gateway=1.0)))
    process = rig.run()
    moments = [visit.at for visit in rig.visits]
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert [round(pause) for pause in pauses[-5:]] == [1, 2, 4, 8, 16]
    assert [facts["again_in"] for facts in process.emitted(Event.UNREACHABLE)] == [1, 2, 4, 8, 16]


def test_two_failures_with_a_quota_wait_between_are_no_outage(tmp_path: Path) -> None:
    # The last requests of a window and the first ones of the next are lost: 600 s apart, without an answer between.
    rig = Rig(tmp_path / "store.db", replace(MONTHS, phones=PHONES, limit=100), replace(NEAR, limit=100))
    process = rig.run({4.93: lambda _: rig.api.inject(Fault.DROP, 4)})
    lost = [visit.at for visit in rig.visits if visit.fault is Fault.DROP]
    assert max(later - earlier for earlier, later in pairwise(lost)) > 500
    assert process.error is None
    assert (process.report.retries, process.report.failed, process.emitted(Event.UNREACHABLE)) == (4, [], [])


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.BAD_GATEWAY, Fault.DROP, Fault.JUNK, Fault.CUT])
@pytest.mark.parametrize("phone", [0, 3])
def test_errors_of_one_phone_fail_its_slice_after_five_tries(tmp_path: Path, fault: Fault, phone: int) -> None:
    rig = Rig(tmp_path / "store.db", replace(YEARS, phones=PHONES[:5]), NEAR)
    rig.api.inject(fault, 1000, where=PHONES[phone])
    process = rig.run()
    tries = [visit.at for visit in rig.visits if PHONES[phone] in visit.path]
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert process.error is None
    assert len(tries) == 5
    for number, pause in enumerate(pauses):
        longest = 0.5 * 2**number
        assert longest / 2 <= pause <= longest + 0.5, "half a second, doubling, jittered"
    assert [failed.slice.series.phone for failed in process.report.failed] == [PHONES[phone]]
    assert (process.report.slices.done, process.report.retries) == (4, 4)
    assert rig.rows() == rig.truth([number for number in rig.desired.phones if number != PHONES[phone]])


def test_pauses_are_jittered_by_the_seed(tmp_path: Path) -> None:
    def moments(seed: int) -> list[float]:
        rig = Rig(tmp_path / f"{len(list(tmp_path.iterdir()))}.db", YEARS, NEAR, seed=seed)
        rig.api.inject(Fault.SERVER_ERROR, 1000, where=PHONES[0])
        rig.run()
        return [visit.at for visit in rig.visits]

    assert moments(1) == moments(1) != moments(2)


def test_a_failed_slice_is_requested_again_by_the_next_run(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", YEARS, NEAR)
    rig.api.inject(Fault.SERVER_ERROR, 5, where=PHONES[0])
    assert len(rig.run().report.failed) == 1
    process = rig.run()
    assert (process.report.requests, process.report.failed) == (1, [])
    assert rig.rows() == rig.truth()


def test_a_request_that_counts_but_is_never_answered_is_sent_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", replace(YEARS, phones=PHONES[:5]), NEAR)
    rig.wire.outages.append((START, START + 0.05, NetworkState.UNANSWERED))
    process = rig.run()
    assert process.error is None
    assert process.report.requests == len(rig.visits) == 6 + process.report.retries - 1
    assert rig.rows() == rig.truth()


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.DROP, Fault.CUT, Fault.SLOW])
def test_one_number_without_answers_that_is_left_alone_is_no_outage(tmp_path: Path, fault: Fault) -> None:
    rig = Rig(
        tmp_path / "store.db", replace(YEARS, phones=PHONES[:3]), replace(NEAR, faults=Faults(slow_seconds=300.0))
    )
    assert rig.run().error is None
    rig.wait(1800)
    rig.desired.phones = PHONES[3:4]
    rig.api.inject(fault, 1000, where=PHONES[3])
    process = rig.run()
    assert process.error is None
    assert {failed.slice.series.phone for failed in process.report.failed} == {PHONES[3]}
    assert rig.rows() == rig.truth(PHONES[:3])
