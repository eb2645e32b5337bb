"""Requests against a model server that refuses: what is asked for, how often, and what is given up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.coverage import Span
from harvester.core.model import RangeLimits, Series, Slice
from harvester.core.period import Calendar, Period
from harvester.core.planning import cut
from harvester.core.range_limits import WIDER_AGAIN_AFTER, RangeLimitTracker, Task
from harvester.core.refusal import after_acceptance, after_failure, after_refusal, apply_limits
from tests.support.examples import examples

CALENDAR = Calendar(ZoneInfo("America/New_York"))
TODAY = date(2024, 12, 31)
NOW = 1_735_600_000


@dataclass
class Server:
    """A server that refuses by its rules and records what it was asked for."""

    limit: int = 10_000
    fails_above: int = 10_000  # days; wider ranges get no answer at all
    served_until: int = 0  # days before today
    first_day: date = date(1990, 1, 1)
    accepts_today: bool = True
    bad_phones: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    asked: list[Slice] = field(default_factory=list)
    passed: list[Slice] = field(default_factory=list)

    def fails(self, piece: Slice) -> bool:
        return piece.days > self.fails_above

    def accepts(self, piece: Slice) -> bool:
        self.asked.append(piece)
        if self.fails(piece):
            return False
        good = (
            piece.days <= self.limit
            and piece.first >= self.first_day
            and (TODAY - piece.last).days >= self.served_until
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
            if server.fails(task.slice):
                limit_tracker.record_failure(task)
                step = after_failure(task, limit_tracker, CALENDAR)
            elif good:
                step = after_acceptance(task, limit_tracker, CALENDAR, TODAY, NOW)
            else:
                step = after_refusal(task, server.named, limit_tracker, CALENDAR, TODAY, NOW)
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
    assert len(server.asked) <= 2 * 10 + 5 + 2, "five for the end, because no phone was answered before"
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
    again = after_refusal(Task(failed, refused_before=True), frozenset(), limit_tracker, CALENDAR, TODAY, NOW)
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


def test_an_end_that_is_not_served_yet_is_found_and_left_for_another_day() -> None:
    for named, first in ((frozenset({"end"}), 5), (frozenset[str](), 25)):
        for lag in (2, 3, 10, 100):
            server, limit_tracker = Server(served_until=lag, named=named), RangeLimitTracker(RangeLimits(), 366)
            slices = [year(str(phone)) for phone in range(12)]
            assert ask_for_all(server, slices, limit_tracker) == []
            last = TODAY - timedelta(days=lag)
            assert days_of(server.passed) == {key for key in days_of(slices) if key[1] <= last}
            assert limit_tracker.limits.lag == lag
            assert len(server.asked) <= first + 3 * lag.bit_length() + len(slices), "one for each further phone"
            assert limit_tracker.last_served("another", TODAY, NOW) == last
            assert limit_tracker.last_served("another", TODAY, NOW + WIDER_AGAIN_AFTER) is None, "searched once a day"


def test_a_lag_of_the_day_before_is_tried_first() -> None:
    limits = RangeLimits(accepted=366, lag=2, lag_at=NOW - WIDER_AGAIN_AFTER)
    server, limit_tracker = Server(served_until=2, named=frozenset({"end"})), RangeLimitTracker(limits, 366)
    assert ask_for_all(server, [year("1"), year("2"), year("3")], limit_tracker) == []
    assert len(server.asked) == 2 + 2 + 1
    server = Server(served_until=0)
    limit_tracker = RangeLimitTracker(limits, 366)
    assert ask_for_all(server, [year("1")], limit_tracker) == []
    assert limit_tracker.limits.lag is None


def test_the_end_of_one_phone_holds_nothing_back_of_the_others() -> None:
    limit_tracker = RangeLimitTracker(RangeLimits(), 366)
    assert ask_for_all(Server(served_until=40), [year("1")], limit_tracker) == []
    assert limit_tracker.limits.lag_at is None
    server = Server()
    assert ask_for_all(server, [year("2"), year("3")], limit_tracker) == []
    assert len(server.asked) == 2
    alone = RangeLimitTracker(RangeLimits(), 366, phones=1)
    assert ask_for_all(Server(served_until=40), [year("1")], alone) == []
    assert alone.limits.lag_at == NOW


def test_a_start_found_for_one_phone_costs_two_requests_for_each_other() -> None:
    server, limit_tracker = Server(first_day=date(2024, 9, 17)), RangeLimitTracker(RangeLimits(accepted=366), 366)
    ask_for_all(server, [year("1")], limit_tracker)
    before = len(server.asked)
    others = [year(str(phone)) for phone in range(2, 12)]
    failed = ask_for_all(server, others, limit_tracker)
    assert len(server.asked) - before == 2 * len(others)
    assert days_of(failed) == {key for key in days_of(others) if key[1] < server.first_day}


def test_a_phone_whose_figures_begin_earlier_than_those_of_another_loses_none() -> None:
    limit_tracker = RangeLimitTracker(RangeLimits(accepted=366), 366)
    ask_for_all(Server(first_day=date(2024, 9, 17)), [year("1")], limit_tracker)
    server = Server(first_day=date(2024, 3, 5))
    failed = ask_for_all(server, [year("2")], limit_tracker)
    assert days_of(server.passed) == {key for key in days_of([year("2")]) if key[1] >= server.first_day}
    assert len(failed) == 1
    assert len(server.asked) <= 25


servers = st.builds(
    Server,
    limit=st.sampled_from([1, 7, 31, 100, 365, 10_000]),
    fails_above=st.sampled_from([1, 31, 100, 10_000, 10_000]),
    served_until=st.sampled_from([0, 0, 1, 2, 5, 40, 300, 400]),
    first_day=st.dates(date(2023, 11, 1), date(2025, 1, 5)),
    accepts_today=st.booleans(),
    bad_phones=st.frozensets(st.sampled_from("123")),
    named=st.sampled_from([frozenset[str](), frozenset({"start"}), frozenset({"end"})]),
)
known_limits = st.builds(
    RangeLimits,
    accepted=st.sampled_from([None, 50, 366]),
    first_served=st.none() | st.dates(date(2023, 12, 1), date(2024, 12, 31)),
    lag=st.sampled_from([None, 0, 1, 2, 30, 400]),
)


@given(servers, st.sampled_from(Period), st.integers(1, 4), known_limits, st.integers(0, 40))
@examples(300)
def test_every_day_is_answered_once_or_given_up_once(
    server: Server, period: Period, in_flight: int, limits: RangeLimits, ago: int
) -> None:
    last = min(TODAY, CALENDAR.last(period, TODAY - timedelta(days=ago)))
    slices = [year(phone, last, period) for phone in "123"]
    if limits.first_served is not None:
        limits = replace(limits, first_served=CALENDAR.floor(period, limits.first_served))
    failed = ask_for_all(server, slices, RangeLimitTracker(limits, 366), in_flight)
    answered, given_up = days_of(server.passed), days_of(failed)
    assert len(answered) == sum(piece.days for piece in server.passed), "answered twice"
    assert not answered & given_up
    assert len(given_up) == sum(piece.days for piece in failed), "given up twice"
    left = days_of(slices) - answered - given_up
    served = CALENDAR.floor(period, TODAY - timedelta(days=server.served_until) + timedelta(days=1))
    current = CALENDAR.floor(period, TODAY)
    if limits.lag is None:
        assert all(day >= min(served, current) for _, day in left), "lost"
    if server.limit >= 31 or period is Period.DAY:
        for piece in failed:
            newest = Slice(piece.series, CALENDAR.floor(period, piece.last), piece.last)
            assert not server.accepts(newest), "given up although it passes"
    assert len(failed) <= 3 * len(cut([Span(slices[0].first, last)], period, CALENDAR, 1))
