"""Each branch of the coordinator, outcome by outcome, without network, store or event loop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harvester.core.breaker import OPENING_FAILURES
from harvester.core.model import RunReport
from harvester.core.range_limits import FAILURES_BEFORE_TEST
from harvester.errors import (
    CalendarMismatch,
    HarvesterError,
    PayloadError,
    SliceRejected,
    StoreError,
    Throttled,
)
from harvester.events import Event
from harvester.runner.coordinator import Coordinator
from tests.support.scenario import CALENDAR, CLOSED, CONNECTION_REFUSED, NOON, REJECTED, SERVER_ERROR, Scenario


def test_a_plan_is_finished_when_all_slices_are_answered() -> None:
    scenario = Scenario(accepted=None)
    changes = [scenario.answer() for _ in scenario.phones]
    assert changes == [True, False, False, False, False], "the range limit is stored once"
    assert scenario.coordinator.finished
    assert scenario.coordinator.take() is None
    assert scenario.coordinator.report.slices.planned == 5


def test_a_429_costs_no_try_and_no_pause() -> None:
    scenario = Scenario(phones="1")
    for _ in range(20):
        scenario.fail(Throttled("429"))
    assert scenario.coordinator.may_send()
    assert (scenario.coordinator.report.rate_limited, scenario.coordinator.report.retries) == (20, 0)
    assert scenario.take()[0].attempts == 0


@pytest.mark.parametrize("error", [SERVER_ERROR, CLOSED, PayloadError("junk")])
def test_a_slice_is_given_up_after_five_tries_with_growing_pauses(error: HarvesterError) -> None:
    scenario = Scenario()
    scenario.answer()
    mine = scenario.take()
    pauses = []
    for _ in range(4):
        scenario.fail(error, mine)
        others = [scenario.take() for _ in range(3)]
        moment = scenario.coordinator.next_due()
        assert moment is not None
        pauses.append(moment - scenario.now)
        scenario.due()
        mine = scenario.take()
        for other in others:
            scenario.fail(Throttled("429"), other)
    assert pauses == pytest.approx([0.375, 0.75, 1.5, 3.0])
    whole = mine[0].task.slice
    scenario.fail(error, mine)
    scenario.fail(error)  # its newest period alone, as no slice was answered since the first failure
    assert [failure.slice for failure in scenario.coordinator.failures] == [whole]
    assert scenario.coordinator.report.retries == 4


def test_a_refused_phone_fails_the_slice_at_once_and_says_why() -> None:
    scenario = Scenario()
    scenario.fail(SliceRejected("400: Invalid phone parameter.", named=frozenset({"phone"})))
    (failure,) = scenario.coordinator.failures
    assert failure.code == "rejected"
    assert "Invalid phone" in failure.error
    assert scenario.emitted == [Event.REFUSED, Event.FAILED]


def test_a_range_refused_for_its_width_is_halved_and_the_accepted_width_is_recorded() -> None:
    scenario = Scenario(phones="1", accepted=None)
    scenario.fail(REJECTED)
    half, _ = taken = scenario.take()
    assert half.task.slice.days == 183
    assert scenario.answer(taken)
    assert scenario.limit_tracker.limits.accepted == 183
    assert scenario.answer() is False
    assert scenario.coordinator.finished
    assert scenario.coordinator.report.slices.planned == 2


@pytest.mark.parametrize("error", [CalendarMismatch("zone", setting="timezone", fits=None), StoreError("full")])
def test_an_error_of_the_account_ends_its_run_and_the_first_one_counts(error: HarvesterError) -> None:
    scenario = Scenario()
    scenario.fail(error)
    scenario.decide()
    scenario.coordinator.give_up(StoreError("later"))
    assert scenario.coordinator.end is error


def test_twenty_failures_open_the_breaker_and_then_no_slice_is_charged_a_try() -> None:
    scenario = Scenario(phones=[str(number) for number in range(40)])
    entries = [scenario.take() for _ in range(30)]
    for number, taken in enumerate(entries):
        scenario.fail(CLOSED, taken)
        assert scenario.coordinator.breaker.is_open == (number >= OPENING_FAILURES - 1)
    assert scenario.coordinator.report.retries == OPENING_FAILURES - 2, "the fifth is followed by a test of its width"
    assert {taken[0].attempts for taken in entries[OPENING_FAILURES:]} == {0}
    assert scenario.coordinator.progress.last_outage == CLOSED.detail


def test_with_the_breaker_open_one_narrow_probe_is_sent() -> None:
    scenario = Scenario(phones=[str(number) for number in range(40)])
    for taken in [scenario.take() for _ in range(OPENING_FAILURES)]:
        scenario.fail(CLOSED, taken)
    scenario.now += 1
    probe = scenario.take()
    assert probe[0].task.slice.days == 1
    assert not scenario.coordinator.may_send()
    assert scenario.coordinator.next_due() is None
    scenario.answer(probe)
    assert scenario.coordinator.may_send()
    assert Event.REACHABLE in scenario.emitted
    assert scenario.coordinator.report.slices.planned == 41


def test_without_any_answer_few_slices_open_the_breaker_instead_of_failing() -> None:
    scenario = Scenario(phones="1")
    for _ in range(4):
        scenario.fail(CONNECTION_REFUSED)
        scenario.due()
    scenario.fail(CONNECTION_REFUSED)
    assert scenario.coordinator.breaker.is_open
    assert not scenario.coordinator.failures
    assert len(scenario.coordinator.queue) == 1


def test_five_server_errors_for_wide_ranges_are_tested_by_one_period() -> None:
    scenario = Scenario(accepted=None)
    for taken in [scenario.take() for _ in range(FAILURES_BEFORE_TEST)]:
        scenario.fail(SERVER_ERROR, taken)
    test, _ = taken = scenario.take()
    assert test.task.is_test
    assert (test.task.slice.days, test.task.whole.days) == (1, 365)
    scenario.answer(taken)
    scenario.fail(SERVER_ERROR)  # its rest or another slice: now the width is the cause
    assert scenario.take()[0].task.slice.days <= 183
    assert not scenario.coordinator.failures


def test_a_failed_test_changes_nothing_but_the_tries() -> None:
    scenario = Scenario(accepted=None)
    for taken in [scenario.take() for _ in range(FAILURES_BEFORE_TEST)]:
        scenario.fail(SERVER_ERROR, taken)
    test, _ = taken = scenario.take()
    before = scenario.coordinator.report.slices.planned
    scenario.fail(SERVER_ERROR, taken)
    assert (test.task.slice.days, test.task.older, test.task.is_test, test.attempts) == (365, None, False, 2)
    assert scenario.coordinator.report.slices.planned == before
    assert not scenario.limit_tracker.wide_ranges_fail


def test_a_lone_slice_that_always_gets_server_errors_fails_as_one() -> None:
    scenario = Scenario(phones="1", accepted=None)
    for _ in range(4):
        scenario.fail(SERVER_ERROR)
        scenario.due()
    scenario.fail(SERVER_ERROR)
    scenario.fail(SERVER_ERROR)  # the test
    (failure,) = scenario.coordinator.failures
    assert failure.slice.days == 365
    assert scenario.coordinator.finished


def test_slices_of_a_refused_today_leave_nothing_to_send() -> None:
    today = CALENDAR.local_date(NOON)
    scenario = Scenario(phones=[str(number) for number in range(2000)], first=today, last=today)
    scenario.limit_tracker.accepts_today = False
    assert scenario.coordinator.take() is None
    assert scenario.coordinator.finished
    assert scenario.coordinator.report.slices.planned == 0


def test_a_second_plan_continues_the_counts_of_the_first() -> None:
    scenario = Scenario()
    report = RunReport("main")
    report.slices.done, report.slices.failed = 2, 1
    coordinator = Coordinator(
        replace(scenario.coordinator.plan, already_covered=4), scenario.coordinator.context, report
    )
    assert (coordinator.report.slices.planned, coordinator.report.slices.already_covered) == (8, 1)
