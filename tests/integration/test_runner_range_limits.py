"""Range limits through the whole runner: found in few requests, and never from an outage."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from harvester.core.range_limits import WIDER_AGAIN_AFTER
from harvester.errors import RequestsRefused, SliceRejected
from harvester.events import Event
from harvester.simulator.faults import Fault, Faults
from harvester.simulator.options import Account, Options
from harvester.simulator.world import Beyond, World
from tests.support.rig import START, Desired, Rig

NARROW = Options(latency=0.02, max_days=100)
A_YEAR = Desired(first=date(2023, 1, 1), last=date(2024, 1, 1))  # five phones, 366 days: 20 slices of 92 days or fewer
MANY = tuple(f"800555{number:04}" for number in range(20))


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("concurrency", [1, 8, 32])
def test_the_limit_is_found_and_twenty_slices_are_done_in_few_requests(
    tmp_path: Path, status: int, concurrency: int
) -> None:
    rig = Rig(tmp_path / "store.db", replace(A_YEAR, concurrency=concurrency), replace(NARROW, wide_status=status))
    process = rig.run()
    assert process.error is None
    assert process.report.requests == len(rig.visits) <= 30  # 45 are allowed
    assert process.report.slices.failed == 0
    assert rig.rows() == rig.truth()
    assert process.limit_tracker is not None
    assert process.limit_tracker.limits.accepted in {91, 92}


def test_the_next_run_uses_the_limit_that_was_found(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", A_YEAR, NARROW)
    rig.run()
    rig.desired = replace(A_YEAR, phones=MANY, first=date(2022, 1, 1), last=date(2022, 12, 31))
    process = rig.run()
    assert rig.statuses()[400] == 2, "all from the first run"
    assert process.report.requests == len(MANY) * 4  # 365 days, 92 each


def test_a_wider_range_is_tried_again_after_a_day(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", A_YEAR, NARROW)
    rig.run()
    rig.api.options = replace(rig.api.options, max_days=None)
    rig.wait(WIDER_AGAIN_AFTER)
    rig.desired = replace(A_YEAR, first=date(2022, 1, 1), last=date(2022, 12, 31))
    process = rig.run()
    assert process.report.requests == len(A_YEAR.phones)
    assert process.limit_tracker is not None
    assert process.limit_tracker.limits.accepted == 365


def test_the_search_for_the_limit_is_shared_by_all_phones(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", replace(A_YEAR, phones=MANY), NARROW)
    process = rig.run()
    assert process.report.slices.done == 80
    assert process.report.requests <= 83


@pytest.mark.parametrize("failures", [1, 4, 5, 6, 7, 12, 19, 20, 21, 24])
def test_an_outage_of_500s_sets_no_limit(tmp_path: Path, failures: int) -> None:
    # Nothing was accepted yet and all requests fail for a while: later requests must not become narrower.
    rig = Rig(tmp_path / "store.db", replace(A_YEAR, phones=MANY[:8]), Options(latency=0.02))
    rig.api.inject(Fault.SERVER_ERROR, failures)
    process = rig.run()
    assert process.error is None
    assert process.limit_tracker is not None
    assert (process.limit_tracker.limits.accepted, process.limit_tracker.limits.refused) == (366, None)
    assert process.report.requests <= failures + 8 + 5, "at most the narrow ones of five probes come on top"
    assert rig.rows() == rig.truth()


def test_a_phone_that_always_gets_500s_sets_no_limit(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", A_YEAR, Options(latency=0.02))
    rig.api.inject(Fault.SERVER_ERROR, 1000, where=A_YEAR.phones[0])
    process = rig.run()
    assert [failed.slice.series.phone for failed in process.report.failed] == [A_YEAR.phones[0]]
    assert process.limit_tracker is not None
    assert process.limit_tracker.limits.refused is None


def test_a_refused_today_costs_one_request_and_is_left_out(tmp_path: Path) -> None:
    rig = Rig(
        tmp_path / "store.db", replace(A_YEAR, last=date(2024, 8, 30), max_days=1000), Options(today_refused=True)
    )
    assert rig.calendar.local_date(START) == rig.desired.last
    process = rig.run()
    assert process.error is None
    assert rig.statuses()[400] <= 5
    assert process.report.slices.failed == 0
    rig.desired = replace(rig.desired, last=date(2024, 8, 29))
    assert rig.rows() == rig.truth()


def test_a_number_that_is_refused_everything_costs_one_search_and_one_request_per_slice(tmp_path: Path) -> None:
    years = 9
    one = replace(A_YEAR, first=date(2015, 1, 3), phones=A_YEAR.phones[:1])
    rig = Rig(tmp_path / "store.db", one, replace(NARROW, max_days=0))
    process = rig.run()
    assert process.report.slices.failed == years
    assert process.report.requests <= years + 10 + 5  # halving 366 days down to one takes nine, the end five
    again = rig.run()
    assert again.report.requests == again.report.slices.failed == years


def test_a_server_that_refuses_everything_costs_two_searches(tmp_path: Path) -> None:
    forty = replace(A_YEAR, phones=tuple(f"800555{number:04}" for number in range(40)))
    rig = Rig(tmp_path / "store.db", forty, replace(NARROW, max_days=0))
    process = rig.run()
    assert isinstance(process.error, RequestsRefused)
    assert "400: Invalid date range." in str(process.error)
    assert process.report.requests <= 2 * 11 + 5


def test_a_refused_slice_is_recognised_by_its_code_and_not_by_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path / "store.db", replace(A_YEAR, phones=A_YEAR.phones[:1]), replace(NARROW, max_days=0))
    monkeypatch.setattr(SliceRejected, "__str__", lambda self: f"in other words: {self.detail}")
    assert rig.run().report.slices.failed == 1
    assert rig.run().report.requests == 1, "searched once more"


WIDE_FAULTS = [
    Fault.DROP,  # closed without an answer
    Fault.DROP_BODY,
    Fault.CUT,
    Fault.CUT_CHUNKED,
    Fault.HTML,
    Fault.BAD_GATEWAY,
    Fault.JUNK,
    Fault.SLOW,  # no answer in time
    Fault.SLOW_BODY,
]


@pytest.mark.parametrize("fault", WIDE_FAULTS)
@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("accepted_before", [False, True])
def test_any_failure_that_repeats_for_wide_ranges_alone_is_a_limit_of_the_width(
    tmp_path: Path, fault: Fault, concurrency: int, *, accepted_before: bool
) -> None:
    years = replace(A_YEAR, phones=MANY[:12], concurrency=concurrency)
    rig = Rig(tmp_path / "store.db", replace(years, first=date(2022, 1, 2), last=date(2022, 12, 31)), Options())
    if accepted_before:
        rig.run()
    before = len(rig.visits)
    rig.desired = years
    rig.api.options = replace(NARROW, wide_fault=fault, faults=Faults(slow_seconds=100.0))
    process = rig.run()
    assert process.error is None
    assert process.report.failed == []
    truth = rig.truth()
    assert {key: value for key, value in rig.rows().items() if key in truth} == truth
    assert len(truth) == 12 * 366 * 6
    assert len(rig.visits) - before <= 48 + 17 + 8 * concurrency, "four a phone, and the search"
    assert process.limit_tracker is not None
    assert process.limit_tracker.limits.accepted in {91, 92}
    assert process.limit_tracker.limits.refused in range(101, 366)


def test_a_single_slice_is_narrowed_without_a_limit_for_others(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", replace(A_YEAR, phones=MANY[:1]), replace(NARROW, wide_fault=Fault.DROP))
    process = rig.run()
    assert (process.error, process.report.failed) == (None, [])
    assert rig.rows() == rig.truth()
    assert len(rig.visits) <= 30


RECENT = Desired(phones=MANY[:12], first=date(2024, 5, 24), last=date(2024, 8, 30))  # to today: 99 days
NAMELESS = "Invalid date range."


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("message", ["Invalid end parameter.", NAMELESS])
def test_days_that_are_not_served_yet_are_left_for_another_day(tmp_path: Path, message: str, concurrency: int) -> None:
    options = Options(latency=0.02, served_until=2, end_error=message)
    rig = Rig(tmp_path / "store.db", replace(RECENT, concurrency=concurrency), options)
    assert rig.calendar.local_date(START) == RECENT.last
    process = rig.run()
    assert (process.error, process.report.failed) == (None, [])
    assert process.report.slices.done >= len(RECENT.phones)
    assert len(process.emitted(Event.NOT_SERVED_YET)) == 1
    served = replace(rig.desired, last=date(2024, 8, 28))
    rig.desired, everything = served, rig.desired
    assert rig.rows() == rig.truth()
    search = 15 if message == NAMELESS else 5
    assert len(rig.visits) <= len(RECENT.phones) + (search + 1) * concurrency + 3

    rig.desired = everything
    before = len(rig.visits)
    again = rig.run()
    days = 3 - 2 + 1  # that are not final and served
    assert {visit.status for visit in list(rig.visits)[before:]} == {200}, "not asked for again within the day"
    assert (again.error, again.report.failed, days) == (None, [], 2)

    rig.wait(86_400)
    rig.desired = replace(everything, last=date(2024, 8, 31))
    before = len(rig.visits)
    third = rig.run()
    refused = [visit for visit in list(rig.visits)[before:] if visit.status == 400]
    assert (third.error, third.report.failed) == (None, [])
    assert 1 <= len(refused) <= max(2, concurrency), "searched again, where it was"
    rig.desired = replace(everything, last=date(2024, 8, 29))
    assert rig.rows().keys() == rig.truth().keys()


def test_a_host_whose_clock_is_two_days_ahead_stores_what_there_is(tmp_path: Path) -> None:
    world = World(future=Beyond.REFUSED)
    desired = replace(RECENT, last=date(2024, 9, 1))
    rig = Rig(
        tmp_path / "store.db", desired, Options(latency=0.02), account=Account(world=world), host_ahead=2 * 86_400
    )
    process = rig.run()
    assert (process.error, process.report.failed) == (None, [])
    rig.desired = replace(desired, last=date(2024, 8, 30))
    assert rig.rows().keys() == rig.truth().keys()
    assert len(rig.visits) <= len(RECENT.phones) + 6 * 8


def test_a_start_that_was_found_is_tried_first_for_the_other_phones(tmp_path: Path) -> None:
    world = World(first_day=date(2023, 9, 17), before=Beyond.REFUSED)
    desired = replace(A_YEAR, phones=MANY, first=date(2021, 1, 1), last=date(2023, 12, 31), concurrency=1)
    rig = Rig(tmp_path / "store.db", desired, Options(latency=0.02), account=Account(world=world))
    process = rig.run()
    assert process.error is None
    by_phone = Counter(visit.path.rpartition("/")[2] for visit in rig.visits)
    assert max(by_phone.values()) <= 16
    assert sorted(by_phone.values())[:-1] == [4] * 19, "the days that are there, and one for each of three slices"
    rig.desired = replace(desired, first=date(2023, 9, 17))
    assert rig.rows() == rig.truth()
