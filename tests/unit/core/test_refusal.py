"""Requests against a model server that refuses: what is asked for, how often, and what is given up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.coverage import Span
from harvester.core.model import RangeLimits, Series, Slice
from harvester.core.period import Calendar, Period
from harvester.core.planning import cut
from harvester.core.refusal import (
    WIDER_AGAIN_AFTER,
    RangeLimitTracker,
    Task,
    after_acceptance,
    after_failure,
    after_refusal,
    apply_limits,
)
from tests.support.examples import examples

CALENDAR = Calendar(ZoneInfo("America/New_York"))
TODAY = date(2024, 12, 31)
NOW = 1_735_600_000


@dataclass
class Server:
    """A server that refuses by its rules and records what it was asked for."""

    limit: int = 10_000
    first_day: date = date(1990, 1, 1)
    accepts_today: bool = True
    bad_phones: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    asked: list[Slice] = field(default_factory=list)
    passed: list[Slice] = field(default_factory=list)

    def accepts(self, piece: Slice) -> bool:
        self.asked.append(piece)
        good = (
            piece.days <= self.limit
            and piece.first >= self.first_day
            and (self.accepts_today or piece.last < CALENDAR.floor(piece.series.period, TODAY))
            and piece.series.phone not in self.bad_phones
        )
        if good:
            self.passed.append(piece)
        return good


def series(phone: str = "1", period: Period = Period.DAY) -> Series:
    return Series("main", "performance", phone, period)


def year(phone: str, last: date = TODAY, period: Period = Period.DAY) -> Slice:
    first = CALENDAR.floor(period, last - timedelta(days=365))
    return Slice(series(phone, period), first, last)


def ask_for_all(
    server: Server, slices: list[Slice], limit_tracker: RangeLimitTracker, in_flight: int = 1
) -> list[Slice]:
    """Ask for everything, `in_flight` at a time. Return what was given up."""
    queue = deque(Task(piece) for piece in slices)
    failed: list[Slice] = []
    while queue:
        wave: list[Task] = []
        while queue and len(wave) < in_flight:
            fitted = apply_limits(queue.popleft(), limit_tracker, CALENDAR, TODAY, NOW)
            queue.extendleft(reversed(fitted[1:]))
            wave += fitted[:1]
        for task, good in [(task, server.accepts(task.slice)) for task in wave]:
            if good:
                step = after_acceptance(task, limit_tracker, CALENDAR, TODAY, NOW)
            else:
                step = after_refusal(task, server.named, limit_tracker, CALENDAR, TODAY)
            queue.extendleft(reversed(step.tasks))
            failed += [step.failed] if step.failed else []
    return failed


def days_of(slices: list[Slice]) -> set[tuple[str, date]]:
    return {(s.series.phone, s.first + timedelta(days=n)) for s in slices for n in range(s.days)}


def test_twenty_slices_of_92_days_are_found_and_done_within_45_requests() -> None:
    for in_flight in (1, 8):
        server, limit_tracker = Server(limit=100), RangeLimitTracker(RangeLimits(), 366)
        slices = [year(str(phone)) for phone in range(5)]
        assert ask_for_all(server, slices, limit_tracker, in_flight) == []
        assert days_of(server.passed) == days_of(slices)
        assert len(server.asked) <= 45
        assert limit_tracker.limits.accepted == 92
        assert limit_tracker.allowed(NOW) == 92


def test_a_known_limit_is_used_at_once_and_a_wider_range_tried_again_after_a_day() -> None:
    limit_tracker = RangeLimitTracker(RangeLimits(accepted=92, refused=183, refused_at=NOW), 366)
    server = Server(limit=100)
    ask_for_all(server, [year("1")], limit_tracker)
    assert len(server.asked) == 4
    assert limit_tracker.allowed(NOW + WIDER_AGAIN_AFTER) == 366
    limit_tracker.record_accepted(366)
    assert limit_tracker.limits == RangeLimits(accepted=366)


def test_a_phone_that_is_refused_narrows_nothing_for_the_others() -> None:
    server, limit_tracker = Server(bad_phones=frozenset("1")), RangeLimitTracker(RangeLimits(), 366)
    slices = [year(phone) for phone in "123"]
    assert ask_for_all(server, slices, limit_tracker) == [slices[0]]
    assert len(server.asked) <= 2 * 10 + 2
    assert limit_tracker.allowed(NOW) == 366
    assert limit_tracker.limits.refused is None


def test_a_refusal_that_names_the_phone_fails_the_slice_at_once() -> None:
    server = Server(bad_phones=frozenset("1"), named=frozenset({"phone"}))
    assert ask_for_all(server, [year("1")], RangeLimitTracker(RangeLimits(), 366)) == [year("1")]
    assert len(server.asked) == 1


def test_a_start_before_the_first_data_is_found_by_bisection_and_fails_as_one_slice() -> None:
    for named in (frozenset({"start"}), frozenset[str]()):
        server = Server(first_day=date(2024, 9, 17), named=named)
        limit_tracker = RangeLimitTracker(RangeLimits(accepted=366), 366)
        failed = ask_for_all(server, [year("1")], limit_tracker)
        assert failed == [Slice(series(), year("1").first, date(2024, 9, 16))]
        assert days_of(server.passed) == days_of([year("1")]) - days_of(failed)
        assert len(server.asked) <= 16
        assert limit_tracker.limits.refused is None


def test_a_slice_that_an_earlier_run_has_searched_is_asked_for_once() -> None:
    server, limit_tracker = Server(first_day=date(2024, 9, 17)), RangeLimitTracker(RangeLimits(accepted=366), 366)
    (failed,) = ask_for_all(server, [year("1")], limit_tracker)
    again = after_refusal(Task(failed, refused_before=True), frozenset(), limit_tracker, CALENDAR, TODAY)
    assert again.failed == failed
    assert not again.tasks


def test_a_server_that_refuses_today_gives_the_other_days_and_fails_nothing() -> None:
    server, limit_tracker = Server(accepts_today=False), RangeLimitTracker(RangeLimits(), 366)
    assert ask_for_all(server, [year("1"), year("2")], limit_tracker) == []
    assert len(server.asked) == 3
    assert days_of(server.passed) == {key for key in days_of([year("1"), year("2")]) if key[1] < TODAY}


def test_a_server_that_became_stricter_gets_a_new_limit() -> None:
    server, limit_tracker = Server(limit=100), RangeLimitTracker(RangeLimits(accepted=366), 366)
    slices = [year(str(phone)) for phone in range(5)]
    assert ask_for_all(server, slices, limit_tracker) == []
    assert days_of(server.passed) == days_of(slices)
    assert len(server.asked) <= 60
    assert limit_tracker.allowed(NOW) <= 100


def test_a_failure_is_cut_in_half_down_to_a_single_period() -> None:
    limit_tracker = RangeLimitTracker(RangeLimits(), 366)
    task = Task(year("1"))
    (halved,) = after_failure(task, limit_tracker, CALENDAR).tasks
    assert halved.slice.days == 183
    assert halved.whole == task.slice
    single = Task(Slice(series(), TODAY, TODAY), Span(year("1").first, TODAY - timedelta(days=1)))
    assert after_failure(single, limit_tracker, CALENDAR).failed == task.slice


servers = st.builds(
    Server,
    limit=st.sampled_from([1, 7, 31, 100, 365, 10_000]),
    first_day=st.dates(date(2023, 11, 1), date(2025, 1, 5)),
    accepts_today=st.booleans(),
    bad_phones=st.frozensets(st.sampled_from("123")),
    named=st.sampled_from([frozenset[str](), frozenset({"start"}), frozenset({"end"})]),
)


@given(servers, st.sampled_from(Period), st.integers(1, 4), st.sampled_from([None, 50, 366]), st.integers(0, 40))
@examples(150)
def test_every_day_is_answered_once_or_given_up_once(
    server: Server, period: Period, in_flight: int, accepted: int | None, ago: int
) -> None:
    last = min(TODAY, CALENDAR.last(period, TODAY - timedelta(days=ago)))
    slices = [year(phone, last, period) for phone in "123"]
    failed = ask_for_all(server, slices, RangeLimitTracker(RangeLimits(accepted), 366), in_flight)
    answered, given_up = days_of(server.passed), days_of(failed)
    assert len(answered) == sum(piece.days for piece in server.passed), "answered twice"
    assert not answered & given_up
    left = days_of(slices) - answered - given_up
    assert {day for _, day in left} <= days_of_current(period), "lost"
    if server.limit >= 31 or period is Period.DAY:
        for piece in failed:
            newest = Slice(piece.series, CALENDAR.floor(period, piece.last), piece.last)
            assert not server.accepts(newest), "given up although it passes"
    assert len(failed) <= 3 * len(cut([Span(slices[0].first, last)], period, CALENDAR, 1))


def days_of_current(period: Period) -> set[date]:
    first = CALENDAR.floor(period, TODAY)
    return {first + timedelta(days=n) for n in range((TODAY - first).days + 1)}
