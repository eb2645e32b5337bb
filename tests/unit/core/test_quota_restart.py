"""The quota over restarts: what is written down, and what the next process makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harvester.core.model import QuotaRecord
from harvester.core.quota import BLOCK, Block, Denied, Token
from tests.support.window_server import EPOCH

if TYPE_CHECKING:
    from tests.support.quota_world import World

from tests.support.quota_steps import R, begun, facts, quota, take, until, world


@pytest.mark.parametrize("sent", [1, 9, 10, 11, 140, 149, 150])
@pytest.mark.parametrize("host_step", [0.0, -5000.0, 400.0])
def test_a_crash_leads_to_no_refusal(sent: int, host_step: float) -> None:
    made = world()
    made.work(sent)
    made.host_ahead += host_step
    made.crash(0.5)
    made.work(300)
    if host_step <= 0:
        assert made.server.refused == []
    assert made.server.most() <= 150
    assert made.now < 3 * 900 + 10  # at most a block was wasted, and no more than a window waited


def test_a_host_clock_stepped_ahead_costs_one_request() -> None:
    made = world()
    made.work(150)
    made.host_ahead += 7200
    made.crash(0.5)
    made.work(150)
    assert len(made.server.refused) == 1
    assert made.server.most() == 150


def test_a_crash_wastes_a_block_at_most_and_a_clean_end_nothing() -> None:
    made = world()
    made.work(15)
    made.crash(1.0)
    left = made.quota.snapshot(made.now).remaining
    assert 150 - 15 - BLOCK < left < 150 - 15
    made.record = closing_record(made)
    made.crash(1.0)
    assert made.quota.snapshot(made.now).remaining == left
    made.work(5)
    made.record = closing_record(made)
    made.crash(1.0)
    assert made.quota.snapshot(made.now).remaining == left - 5


def closing_record(made: World) -> QuotaRecord:
    return made.quota.record(made.quota.closing(), made.now, made.host)


def test_nothing_is_sent_after_a_restart_with_nothing_left() -> None:
    made = world()
    made.work(150)
    made.crash(1.0)
    answer = made.quota.acquire(made.now)
    assert isinstance(answer, Denied)
    assert 900 <= answer.until < 903


def test_a_window_emptied_by_somebody_else_is_remembered() -> None:
    made = world()
    made.work(20)
    while made.server.count(made.now, "somebody else")[0] == 200:
        pass
    made.work(1, until=made.now + 5)
    refused = len(made.server.refused)
    made.crash(1.0)
    made.work(1)
    assert len(made.server.refused) == refused


def test_after_a_restart_what_the_window_counted_may_have_been_ours() -> None:
    """The dying process had requests under way that reached the window after the recorded one."""
    made = world(reserve=100)
    made.work(50)
    made.now = 900.5
    for _ in range(8):
        made.server.count(made.now)
    made.crash(2.0)
    made.work(60)
    assert made.server.most() == 50


def test_the_allowance_is_written_before_it_is_spent() -> None:
    made = world()
    for count in range(1, 151):
        made.work(1)
        assert made.record is not None
        assert count <= made.record.spent <= count + BLOCK
    assert made.saves <= 150 / BLOCK + 2


def test_a_larger_limit_is_written_down_in_fifteenths() -> None:
    made = world(limit=3000, configured_limit=3000)
    for count in range(50, 3001, 50):
        made.work(50)
        assert made.record is not None
        assert count <= made.record.spent <= count + 200
    assert made.saves <= 15 + 3


def test_a_changed_limit_is_written_down_before_more_is_spent() -> None:
    made = quota(limit=40, reserve=3)
    for now in (0, 1):
        made.observe(take(made, now), now, 200, facts(now, 11, limit=40 - 28 * now))
    answer = made.acquire(1)
    assert isinstance(answer, Block)
    assert made.record(answer, 1.0, EPOCH + 1).limit == 12


def test_a_record_tells_what_may_still_be_sent() -> None:
    made = begun(remaining=100)
    take(made, 1)
    answer = made.acquire(1)
    while isinstance(answer, Token):
        answer = made.acquire(1)
    assert isinstance(answer, Block)
    record = made.record(answer, 1.0, EPOCH + 1)
    flying = 10
    assert record.spent == 1 + flying + BLOCK
    assert record.remaining == 100 - flying - BLOCK
    assert record.resets_at == R
    assert record.recorded_at == EPOCH + 1
    assert -2 < record.server_ahead <= 0


def test_a_record_for_another_end_than_was_named_meanwhile_covers_nothing() -> None:
    made = quota()
    probe = take(made, 0)
    made.unused(probe)
    made = quota()
    first = made.acquire(0)
    assert isinstance(first, Block)
    made.stored(first)
    granted = made.acquire(0)
    assert isinstance(granted, Token)
    block = Block(BLOCK, granted.window, R)
    made.observe(granted, 0.1, 200, facts(0.1, 149, R + 900))
    made.stored(block)
    assert isinstance(made.acquire(0.2), Block)


def test_a_long_retry_after_is_kept_over_a_restart() -> None:
    made = begun()
    made.observe(take(made, 1), 1.0, 429, facts(1, 0, retry_after=2000))
    record = made.record(made.closing(), 2.0, EPOCH + 2)
    heir = quota()
    heir.restore(record, 3.0, EPOCH + 3)
    assert 2000 <= until(heir, 3.0) <= 2005


def test_a_host_clock_that_was_slewed_a_little_does_not_matter() -> None:
    made = world()
    made.work(150)
    made.sleep(898.9 - made.now)
    made.host_ahead += 0.7
    made.crash(0.5)
    made.work(1)
    assert made.server.refused == []


def test_a_wrong_host_clock_and_no_date_cost_one_request() -> None:
    made = world(dates=False, ahead=13_355.0)
    made.work(150)
    made.host_ahead += 8000
    made.crash(40)
    made.work(150)
    assert len(made.server.refused) <= 1


def test_a_guessed_record_is_written_anew_once_the_window_is_named() -> None:
    made = begun()
    assert isinstance(made.acquire(1), Block)


def test_what_may_have_been_ours_is_added_to_what_is_in_flight() -> None:
    made = quota(limit=12, window=8)
    made.restore(QuotaRecord(12, 6, None, int(EPOCH) - 100, 0.0, EPOCH - 101), 0.0, EPOCH)
    take(made, 1)
    second = take(made, 10)  # the guessed window was over
    made.observe(second, 10, 200, facts(10, 10, limit=12))
    made.reserve = 6
    assert made.snapshot(10).remaining == 12 - 6 - 3
