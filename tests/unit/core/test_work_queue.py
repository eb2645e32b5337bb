from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.model import Series, Slice
from harvester.core.period import Period
from harvester.core.priority import Priority
from harvester.core.range_limits import Task
from harvester.core.work_queue import TAKES_PER_TURN, Entry, WorkQueue


def task(day: int, phone: str = "1") -> Task:
    return Task(Slice(Series("main", "performance", phone, Period.DAY), date(2024, 1, 1), date(2024, 1, day)))


@given(st.lists(st.integers(1, 31), max_size=20))
def test_the_newest_comes_first_and_each_once(days: list[int]) -> None:
    queue = WorkQueue(task(day) for day in days)
    taken = []
    while (entry := queue.take(0)) is not None:
        taken.append(entry.task.slice.last.day)
    assert taken == sorted(days, reverse=True)
    assert len(queue) == 0


def test_equal_days_keep_their_order() -> None:
    queue = WorkQueue(task(5, phone) for phone in "312")
    assert [entry.phone for _ in range(3) if (entry := queue.take(0))] == ["3", "1", "2"]


def test_a_delayed_task_is_taken_when_its_moment_has_come() -> None:
    queue = WorkQueue()
    queue.add_later(Entry(task(1)), 10)
    assert queue.take(9.9) is None
    assert queue.next_due() == 10
    assert queue.take(10) is not None
    assert queue.next_due() is None


def test_a_phone_can_be_avoided_without_losing_its_place() -> None:
    queue = WorkQueue([task(3, "1"), task(2, "2")])
    entry = queue.take(0, avoid=frozenset("1"))
    assert entry is not None
    assert entry.phone == "2"
    assert queue.take(0, avoid=frozenset("1")) is None
    assert not queue.has_ready(0, avoid=frozenset("1"))
    assert queue.has_ready(0)
    assert queue.phones() == {"1"}
    assert len(queue) == 1


def test_entries_that_are_already_claimed_do_not_count_as_ready() -> None:
    queue = WorkQueue([task(3, "1"), task(2, "2")])
    assert queue.has_ready(0, already_claimed=1)
    assert not queue.has_ready(0, already_claimed=2)
    assert not queue.has_ready(0, avoid=frozenset("1"), already_claimed=1)
    queue.add_later(Entry(task(1)), 10)
    assert not queue.has_ready(9.9, already_claimed=2)
    assert queue.has_ready(10, already_claimed=2)


def test_waking_ends_delays_and_keeps_attempts() -> None:
    queue = WorkQueue()
    queue.add_later(Entry(task(1), attempts=4), 1000)
    queue.wake()
    entry = queue.take(0)
    assert entry is not None
    assert entry.attempts == 4


def priority_of(piece: Slice) -> Priority:
    return Priority.FRESH if piece.last.day > 20 else Priority.REPAIR if piece.last.day > 10 else Priority.PAST


@given(st.lists(st.integers(1, 31), max_size=60))
def test_a_lower_priority_that_waits_gets_its_turns_and_no_more(days: list[int]) -> None:
    queue = WorkQueue([task(day) for day in days], priority_of)
    taken = []
    while (entry := queue.take(0)) is not None:
        taken.append(priority_of(entry.task.slice))
    assert len(taken) == len(days)
    for priority in Priority:
        places = [place for place, found in enumerate(taken) if found is priority]
        waits = [after - before for before, after in zip([-1, *places], places, strict=False)]
        assert all(wait <= TAKES_PER_TURN + len(Priority) for wait in waits)
    last_fresh = max((place for place, priority in enumerate(taken) if priority is Priority.FRESH), default=-1)
    lower = sum(priority is not Priority.FRESH for priority in taken[: last_fresh + 1])
    assert lower <= 2 * (last_fresh + 1) // TAKES_PER_TURN + 1
