"""Verdicts about the account: compared with what was answered, and with a control where nothing else is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harvester.core.controls import MOST_TRIES
from harvester.core.retry import MAX_ATTEMPTS
from harvester.errors import (
    CalendarMismatch,
    HarvesterError,
    Outage,
    PayloadError,
    RequestsRefused,
    SliceRejected,
    SourceUnavailable,
    Throttled,
    Unauthorized,
)
from harvester.runner.account_check import BURST_SECONDS, MAX_FORBIDDEN
from tests.support.scenario import CLOSED, REJECTED, SERVER_ERROR, Scenario, unauthorized


def test_a_slice_with_401_is_parked_until_another_phone_is_answered() -> None:
    scenario = Scenario()
    scenario.answer()
    mine, _ = taken = scenario.take()
    assert scenario.fail(unauthorized(), taken) is None
    other = scenario.take()
    assert other[0].phone != mine.phone
    assert not scenario.coordinator.may_send(), "one at a time until more is known"
    scenario.answer(other)
    (failure,) = scenario.coordinator.failures
    assert failure.slice.series.phone == mine.phone
    assert scenario.coordinator.may_send()


def test_two_phones_with_401_renew_the_pair_and_are_both_requested_again() -> None:
    scenario = Scenario()
    first, second = scenario.take(), scenario.take()
    assert scenario.fail(unauthorized(), first) is None
    assert scenario.fail(unauthorized(), second) is None
    assert not scenario.coordinator.may_send(), "two phones are enough to decide"
    assert scenario.decide() == 1
    assert scenario.coordinator.renewing
    assert not scenario.coordinator.may_send()
    assert scenario.coordinator.next_due() is None
    scenario.coordinator.renewed(1)
    assert scenario.coordinator.may_send()
    assert scenario.coordinator.outstanding == 5
    late = scenario.take()
    assert scenario.fail(unauthorized(1), late) is None, "the old pair's"
    assert scenario.coordinator.outstanding == 5


def test_a_late_renewal_releases_no_slice_parked_for_the_new_pair() -> None:
    scenario = Scenario()
    for taken in (scenario.take(), scenario.take()):
        scenario.fail(unauthorized(1), taken)
    assert scenario.decide() == 1
    scenario.coordinator.renewed(1)
    scenario.fail(unauthorized(2))
    parked_phones = scenario.coordinator.check.unauthorized.parked_phones
    scenario.coordinator.renewed(1)
    assert scenario.coordinator.check.unauthorized.parked_phones == parked_phones != frozenset()


def test_without_another_phone_one_that_was_answered_is_asked_for_again_before_the_number_is_rejected() -> None:
    scenario = Scenario(phones="12")
    scenario.answer()
    scenario.fail(unauthorized())
    assert scenario.decide() is None
    control, sequence = scenario.take()
    assert (control.is_control, control.phone, control.task.slice.days) == (True, "1", 1)
    assert scenario.coordinator.take() is None
    scenario.answer((control, sequence))
    (failure,) = scenario.coordinator.failures
    assert failure.slice.series.phone == "2"
    assert scenario.coordinator.finished


def test_a_number_that_is_left_alone_is_rejected_if_an_earlier_run_was_answered_for_another() -> None:
    scenario = Scenario(phones="1")
    scenario.fail(unauthorized())
    assert scenario.decide("2", "3") is None
    control = scenario.take()
    assert control[0].phone == "2"
    scenario.answer(control)
    assert [failure.slice.series.phone for failure in scenario.coordinator.failures] == ["1"]
    assert scenario.coordinator.finished


def test_a_dead_pair_is_renewed_after_two_controls_and_the_number_is_requested_again() -> None:
    scenario = Scenario(phones="1")
    scenario.fail(unauthorized())
    for _ in range(2):
        assert scenario.decide("2", "3", "4") is None
        control = scenario.take()
        generation = scenario.fail(unauthorized(), control)
    assert generation == 1
    scenario.coordinator.renewed(1)
    assert scenario.take()[0].phone == "1"


def test_an_old_number_of_the_account_is_known_to_work_and_needs_no_control() -> None:
    scenario = Scenario(phones="12")
    first, second = scenario.take(), scenario.take()
    scenario.fail(unauthorized(), first)
    scenario.fail(unauthorized(), second)
    assert scenario.decide("1", "2", "3") == 1


@pytest.mark.parametrize("error", [REJECTED, SERVER_ERROR, PayloadError("no JSON")])
def test_controls_that_decide_nothing_fail_the_number_and_not_the_account(error: HarvesterError) -> None:
    scenario = Scenario(phones="9")
    scenario.fail(unauthorized())
    for _ in range(MOST_TRIES):
        assert scenario.decide("1", "2", "3", "4") is None
        scenario.fail(error)
    assert scenario.decide() is None
    assert len(scenario.coordinator.failures) == 1
    assert scenario.coordinator.finished
    assert scenario.coordinator.end is None


def test_a_throttled_control_is_sent_again() -> None:
    scenario = Scenario(phones="9")
    scenario.fail(unauthorized())
    scenario.decide("1")
    scenario.fail(Throttled("429"))
    assert scenario.take()[0].is_control


def test_no_control_is_sent_once_another_answer_has_decided() -> None:
    scenario = Scenario(phones="123")
    first, second, third = scenario.take(), scenario.take(), scenario.take()
    scenario.fail(unauthorized(), first)
    scenario.answer(third)
    scenario.fail(unauthorized(), second)
    scenario.decide()
    assert scenario.take()[0].phone == "3"


MISMATCH = CalendarMismatch("begins at 06:00", setting="timezone", fits=None)


def test_other_days_of_one_number_fail_it_alone_if_another_number_fits_on_the_same_days() -> None:
    scenario = Scenario(phones="12")
    scenario.answer()
    mine, _ = taken = scenario.take()
    scenario.fail(MISMATCH, taken)
    assert not scenario.coordinator.may_send()
    scenario.decide()
    control = scenario.take()
    assert control[0].task.slice == replace(mine.task.slice, series=replace(mine.task.slice.series, phone="1"))
    scenario.answer(control)
    (failure,) = scenario.coordinator.failures
    assert failure.slice == mine.task.slice
    assert failure.code == PayloadError.code
    assert scenario.coordinator.end is None
    assert scenario.coordinator.finished


def test_other_days_of_two_numbers_end_the_run() -> None:
    scenario = Scenario(phones="12")
    first, second = scenario.take(), scenario.take()
    scenario.fail(MISMATCH, first)
    scenario.fail(MISMATCH, second)
    assert scenario.coordinator.end is MISMATCH


@pytest.mark.parametrize("earlier", ["", "2"])
def test_other_days_end_the_run_if_no_other_number_fits(earlier: str) -> None:
    scenario = Scenario(phones="1")
    scenario.fail(MISMATCH)
    scenario.decide(*earlier)
    if earlier:
        scenario.fail(MISMATCH)
    assert scenario.coordinator.end is MISMATCH


def test_a_number_that_never_answers_does_not_make_the_api_unreachable() -> None:
    scenario = Scenario(phones="1")
    while not scenario.coordinator.breaker.is_open:
        scenario.fail(CLOSED)
        scenario.now = max(scenario.now, scenario.coordinator.next_due() or 0)
    assert scenario.decide("2") is None
    assert scenario.coordinator.check.last_control()
    scenario.answer()
    assert not scenario.coordinator.breaker.is_open
    for _ in range(MAX_ATTEMPTS):
        if not scenario.coordinator.may_send():
            scenario.due()
        scenario.fail(CLOSED)
    (failure,) = scenario.coordinator.failures
    assert failure.slice.series.phone == "1"
    assert scenario.coordinator.finished


def test_a_control_without_an_answer_is_no_proof_that_the_api_is_there() -> None:
    scenario = Scenario(phones="1")
    scenario.fail(CLOSED)
    scenario.coordinator.breaker.trip(scenario.now)
    scenario.decide("2")
    scenario.fail(CLOSED)
    assert scenario.coordinator.breaker.is_open
    assert scenario.coordinator.outstanding == 1


WRONG_PATH = SourceUnavailable("404, a web page", outage=Outage.NOT_API, status=404)


@pytest.mark.parametrize("error", [WRONG_PATH, SliceRejected("404: No such resource.", status=404)])
def test_the_same_404_for_three_phones_ends_the_run(error: HarvesterError) -> None:
    scenario = Scenario()
    for _ in range(3):
        taken = scenario.take()
        if scenario.emitted:
            assert scenario.coordinator.take() is None, "one at a time"
        scenario.fail(error, taken)
    assert scenario.decide() is None
    assert isinstance(scenario.coordinator.end, RequestsRefused)
    assert "api.base_url" in str(scenario.coordinator.end)


def test_refusals_of_all_requests_are_the_slices_where_an_earlier_run_was_answered() -> None:
    scenario = Scenario(phones="1")
    for _ in range(3):
        scenario.fail(SliceRejected("404: No such number.", status=404))
    assert not scenario.coordinator.may_send()
    assert scenario.decide("2") is None
    assert scenario.coordinator.end is None
    assert scenario.coordinator.may_send()


def test_a_400_ends_the_run_after_two_searches() -> None:
    scenario = Scenario()
    sent = 0
    while scenario.coordinator.end is None:
        scenario.fail(SliceRejected("400: No.", status=400))
        scenario.decide()
        sent += 1
    assert isinstance(scenario.coordinator.end, RequestsRefused)
    assert len(scenario.coordinator.failures) == 2
    assert sent < 30


NOTICE = PayloadError("200, but we are back at noon")


def test_the_same_unusable_200_for_three_phones_is_an_outage() -> None:
    scenario = Scenario()
    for taken in [scenario.take() for _ in range(5)]:
        scenario.fail(NOTICE, taken)
    assert scenario.coordinator.breaker.is_open
    for _ in range(20):
        scenario.decide()
        scenario.fail(NOTICE)
    assert scenario.coordinator.breaker.is_open
    assert not scenario.coordinator.failures
    while not scenario.coordinator.finished:
        if not scenario.coordinator.may_send():
            scenario.due()
        scenario.answer()
    assert not scenario.coordinator.breaker.is_open


def test_different_unusable_answers_are_the_slices() -> None:
    scenario = Scenario()
    for number, taken in enumerate([scenario.take() for _ in range(5)]):
        scenario.fail(PayloadError(f"unusable {number}"), taken)
    assert not scenario.coordinator.breaker.is_open


def test_a_403_moments_after_an_answer_is_a_limit_on_bursts() -> None:
    scenario = Scenario(phones="12")
    scenario.answer()
    forbidden = Unauthorized("403: Too fast.", generation=1, status=403)
    for _ in range(MAX_FORBIDDEN):
        scenario.fail(forbidden)
    assert scenario.coordinator.report.rate_limited == MAX_FORBIDDEN
    parked = scenario.coordinator.check.parked
    assert parked == 0
    scenario.fail(forbidden)
    assert scenario.coordinator.check.parked == 1


def test_a_403_long_after_an_answer_is_compared_as_a_401_is() -> None:
    scenario = Scenario(phones="12")
    scenario.answer()
    scenario.now += BURST_SECONDS + 1
    scenario.fail(Unauthorized("403: No.", generation=1, status=403))
    assert scenario.coordinator.check.parked == 1
