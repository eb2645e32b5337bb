"""Each branch of the Judge, outcome by outcome, without network, store or loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from harvester.core.breaker import FAILURES
from harvester.core.model import RangeLimits, RunReport, Series, Slice
from harvester.core.period import Calendar, Period
from harvester.core.planning import Plan
from harvester.core.refusal import BROKEN, RangeLimitTracker
from harvester.errors import (
    CalendarMismatch,
    HarvesterError,
    Outage,
    PayloadError,
    SliceRejected,
    SourceUnavailable,
    StoreError,
    Throttled,
    Unauthorized,
)
from harvester.runner.coordinator import AccountContext, Coordinator

if TYPE_CHECKING:
    from harvester.core.work_queue import Entry

CALENDAR = Calendar(ZoneInfo("America/New_York"))
NOON = 1_704_128_400.0  # 2024-01-01 12:00 in New York
BROKE = SourceUnavailable("500: Unknown error.", outage=Outage.SERVER, status=500)
CLOSED = SourceUnavailable("the connection closed", outage=Outage.CLOSED)
REFUSED = SourceUnavailable("cannot connect", outage=Outage.CONNECT)
REJECTED = SliceRejected("400")


@dataclass
class World:
    """A judge, its clock, and what it told."""

    phones: Sequence[str] = ("1", "2", "3", "4", "5")
    first: date = date(2023, 1, 1)
    last: date = date(2023, 12, 31)
    renewable: bool = True
    accepted: int | None = 366
    already_covered: int = 0
    now: float = 1000.0
    logged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limit_tracker = RangeLimitTracker(RangeLimits(self.accepted), 366)
        slices = [Slice(Series("main", "performance", one, Period.DAY), self.first, self.last) for one in self.phones]
        context = AccountContext(
            calendar=CALENDAR,
            now=lambda: self.now,
            today_is=lambda: NOON + self.now,
            jitter=lambda: 0.5,
            limit_trackers={"performance": self.limit_tracker},
            renewable=self.renewable,
            emit=lambda event, /, **_: self.logged.append(event),
        )
        self.coordinator = Coordinator(Plan(slices, self.already_covered), context, RunReport("main"))

    def take(self) -> tuple[Entry, int]:
        taken = self.coordinator.take()
        assert taken is not None
        return taken

    def answer(self, taken: tuple[Entry, int] | None = None) -> bool:
        taken = taken or self.take()
        changed = self.coordinator.answered(*taken)
        self.coordinator.in_flight -= 1
        return changed

    def fail(self, error: HarvesterError, taken: tuple[Entry, int] | None = None) -> int | None:
        entry, _ = taken or self.take()
        generation = self.coordinator.failed(entry, error)
        self.coordinator.in_flight -= 1
        return generation

    def due(self) -> None:
        """Wait for the next try."""
        moment = self.coordinator.next_moment()
        assert moment is not None
        self.now = max(self.now, moment)


def unauthorized(generation: int = 1) -> Unauthorized:
    return Unauthorized("401", generation=generation)


def test_all_answered_is_finished() -> None:
    world = World(accepted=None)
    changes = [world.answer() for _ in world.phones]
    assert changes == [True, False, False, False, False], "the width is worth remembering once"
    assert world.coordinator.finished
    assert world.coordinator.take() is None
    assert world.coordinator.report.slices.planned == 5


def test_a_429_costs_no_try_and_no_pause() -> None:
    world = World(phones="1")
    for _ in range(20):
        world.fail(Throttled("429"))
    assert world.coordinator.may_send()
    assert (world.coordinator.report.rate_limited, world.coordinator.report.retries) == (20, 0)
    assert world.take()[0].attempts == 0


@pytest.mark.parametrize("error", [BROKE, CLOSED, PayloadError("junk")])
def test_a_slice_is_given_up_after_five_tries_with_growing_pauses(error: HarvesterError) -> None:
    world = World()
    world.answer()
    mine = world.take()
    pauses = []
    for _ in range(4):
        world.fail(error, mine)
        others = [world.take() for _ in range(3)]
        moment = world.coordinator.next_moment()
        assert moment is not None
        pauses.append(moment - world.now)
        world.due()
        mine = world.take()
        for other in others:
            world.fail(Throttled("429"), other)
    assert pauses == pytest.approx([0.375, 0.75, 1.5, 3.0])
    world.fail(error, mine)
    assert [failure.slice for failure in world.coordinator.failures] == [mine[0].task.slice]
    assert world.coordinator.report.retries == 4


def test_a_refusal_fails_the_slice_at_once_and_says_why() -> None:
    world = World()
    world.fail(SliceRejected("400: Invalid phone parameter.", named=frozenset({"phone"})))
    (failure,) = world.coordinator.failures
    assert failure.code == "rejected"
    assert "Invalid phone" in failure.error
    assert world.logged == ["refused", "failed"]


def test_a_refusal_for_the_width_is_halved_and_what_passes_is_learnt() -> None:
    world = World(phones="1", accepted=None)
    world.fail(REJECTED)
    half, _ = taken = world.take()
    assert half.task.slice.days == 183
    assert world.answer(taken)
    assert world.limit_tracker.limits.accepted == 183
    assert world.answer() is False
    assert world.coordinator.finished
    assert world.coordinator.report.slices.planned == 2


@pytest.mark.parametrize("error", [CalendarMismatch("zone", setting="timezone", fits=None), StoreError("full")])
def test_what_concerns_the_account_ends_it_and_the_first_reason_counts(error: HarvesterError) -> None:
    world = World()
    world.fail(error)
    world.coordinator.give_up(StoreError("later"))
    assert world.coordinator.end is error


def test_twenty_failures_open_the_breaker_and_then_no_slice_is_charged() -> None:
    world = World(phones=[str(number) for number in range(40)])
    entries = [world.take() for _ in range(30)]
    for number, taken in enumerate(entries):
        world.fail(CLOSED, taken)
        assert world.coordinator.breaker.is_open == (number >= FAILURES - 1)
    assert world.coordinator.report.retries == FAILURES - 1
    assert {taken[0].attempts for taken in entries[FAILURES:]} == {0}
    assert world.coordinator.last_outage == CLOSED.detail


def test_with_the_breaker_open_one_narrow_probe_goes() -> None:
    world = World(phones=[str(number) for number in range(40)])
    for taken in [world.take() for _ in range(FAILURES)]:
        world.fail(CLOSED, taken)
    world.now += 1
    probe = world.take()
    assert probe[0].task.slice.days == 1
    assert not world.coordinator.may_send()
    assert world.coordinator.next_moment() is None
    world.answer(probe)
    assert world.coordinator.may_send()
    assert "reachable" in world.logged
    assert world.coordinator.report.slices.planned == 41


def test_nobody_there_and_few_slices_trip_the_breaker_instead_of_failing_them() -> None:
    world = World(phones="1")
    for _ in range(4):
        world.fail(REFUSED)
        world.due()
    world.fail(REFUSED)
    assert world.coordinator.breaker.is_open
    assert not world.coordinator.failures
    assert len(world.coordinator.queue) == 1


def test_five_broken_wide_answers_are_tested_by_one_period() -> None:
    world = World(accepted=None)
    for taken in [world.take() for _ in range(BROKEN)]:
        world.fail(BROKE, taken)
    test, _ = taken = world.take()
    assert test.task.is_test
    assert (test.task.slice.days, test.task.whole.days) == (1, 365)
    world.answer(taken)
    world.fail(BROKE)  # the remainder, or another: width is to blame now
    assert world.take()[0].task.slice.days <= 183
    assert not world.coordinator.failures


def test_a_failed_test_changes_nothing_but_the_tries() -> None:
    world = World(accepted=None)
    for taken in [world.take() for _ in range(BROKEN)]:
        world.fail(BROKE, taken)
    test, _ = taken = world.take()
    before = world.coordinator.report.slices.planned
    world.fail(BROKE, taken)
    assert (test.task.slice.days, test.task.older, test.task.is_test, test.attempts) == (365, None, False, 2)
    assert world.coordinator.report.slices.planned == before
    assert not world.limit_tracker.wide_ranges_fail


def test_a_lone_slice_that_always_breaks_fails_as_one() -> None:
    world = World(phones="1", accepted=None)
    for _ in range(4):
        world.fail(BROKE)
        world.due()
    world.fail(BROKE)
    world.fail(BROKE)  # the test
    (failure,) = world.coordinator.failures
    assert failure.slice.days == 365
    assert world.coordinator.finished


def test_a_401_is_held_until_another_phone_passes() -> None:
    world = World()
    world.answer()
    mine, _ = taken = world.take()
    assert world.fail(unauthorized(), taken) is None
    other = world.take()
    assert other[0].phone != mine.phone
    assert not world.coordinator.may_send(), "one at a time until more is known"
    world.answer(other)
    (failure,) = world.coordinator.failures
    assert failure.slice.series.phone == mine.phone
    assert world.coordinator.may_send()


def test_two_phones_with_401_end_the_pair_and_both_are_asked_again() -> None:
    world = World()
    first, second = world.take(), world.take()
    assert world.fail(unauthorized(), first) is None
    assert world.fail(unauthorized(), second) == 1
    assert world.coordinator.renewing
    assert not world.coordinator.may_send()
    assert world.coordinator.next_moment() is None
    world.coordinator.renewed(1)
    assert world.coordinator.may_send()
    assert world.coordinator.outstanding == 5
    late = world.take()
    assert world.fail(unauthorized(1), late) is None, "the old pair's"
    assert world.coordinator.outstanding == 5


def test_a_renewal_told_late_frees_nobody_held_for_the_new_pair() -> None:
    world = World()
    for taken in (world.take(), world.take()):
        world.fail(unauthorized(1), taken)
    world.coordinator.renewed(1)
    world.fail(unauthorized(2))
    parked_phones = world.coordinator.unauthorized.parked_phones
    world.coordinator.renewed(1)
    assert world.coordinator.unauthorized.parked_phones == parked_phones != frozenset()


def test_with_nobody_else_to_ask_the_pair_is_renewed_once_and_then_the_number_is_not_ours() -> None:
    world = World(phones="12")
    world.answer()
    world.fail(unauthorized(1))
    assert world.coordinator.decide_parked() == 1
    assert world.coordinator.decide_parked() is None, "one renewal at a time"
    world.coordinator.renewed(1)
    world.fail(unauthorized(2))
    assert world.coordinator.decide_parked() is None
    assert len(world.coordinator.failures) == 1
    assert world.coordinator.finished


@pytest.mark.parametrize(("renewable", "blamed"), [(True, "the number"), (False, "the pair")])
def test_of_a_harvest_with_only_a_strangers_slice_left(renewable: bool, blamed: str) -> None:  # noqa: FBT001 - a case
    # The others were answered by an earlier run. A pair that was given to us may have died since.
    world = World(phones="1", renewable=renewable, already_covered=4)
    generation = world.fail(unauthorized(1))
    if blamed == "the pair":
        assert generation == 1
        return
    assert generation is None
    assert world.coordinator.decide_parked() == 1
    world.coordinator.renewed(1)
    assert world.fail(unauthorized(2)) is None
    assert world.coordinator.decide_parked() is None
    assert len(world.coordinator.failures) == 1


def test_a_thousand_slices_of_a_refused_today_leave_nothing_to_send() -> None:
    today = CALENDAR.local_date(NOON)
    world = World(phones=[str(number) for number in range(2000)], first=today, last=today)
    world.limit_tracker.accepts_today = False
    assert world.coordinator.take() is None
    assert world.coordinator.finished
    assert world.coordinator.report.slices.planned == 0


def test_a_second_plan_counts_on_from_the_first() -> None:
    world = World()
    report = RunReport("main")
    report.slices.done, report.slices.failed = 2, 1
    coordinator = Coordinator(replace(world.coordinator.plan, already_covered=4), world.coordinator.context, report)
    assert (coordinator.report.slices.planned, coordinator.report.slices.already_covered) == (8, 1)
