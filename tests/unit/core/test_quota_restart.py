"""The quota over restarts: the stored record, and the process that starts from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harvester.core.model import QuotaRecord
from harvester.core.quota import BLOCK, Block, Denied, Token
from tests.support.window_server import EPOCH

if TYPE_CHECKING:
    from tests.support.quota_world import World

from tests.support.quota_steps import R, denied_until, headers, make_quota, make_started_quota, make_world, take


@pytest.mark.parametrize("sent", [1, 9, 10, 11, 140, 149, 150])
@pytest.mark.parametrize("host_step", [0.0, -5000.0, 400.0])
def test_a_crash_leads_to_no_refusal(sent: int, host_step: float) -> None:
    world = make_world()
    world.work(sent)
    world.host_ahead += host_step
    world.crash(0.5)
    world.work(300)
    if host_step <= 0:
        assert world.server.refused == []
    assert world.server.most() <= 150
    assert world.now < 3 * 900 + 10  # at most a block was wasted, and no more than a window waited


def test_a_host_clock_stepped_ahead_costs_one_request() -> None:
    world = make_world()
    world.work(150)
    world.host_ahead += 7200
    world.crash(0.5)
    world.work(150)
    assert len(world.server.refused) == 1
    assert world.server.most() == 150


def test_a_crash_wastes_a_block_at_most_and_a_clean_end_nothing() -> None:
    world = make_world()
    world.work(15)
    world.crash(1.0)
    left = world.quota.snapshot(world.now).remaining
    assert 150 - 15 - BLOCK < left < 150 - 15
    world.record = closing_record(world)
    world.crash(1.0)
    assert world.quota.snapshot(world.now).remaining == left
    world.work(5)
    world.record = closing_record(world)
    world.crash(1.0)
    assert world.quota.snapshot(world.now).remaining == left - 5


def closing_record(world: World) -> QuotaRecord:
    return world.quota.record(world.quota.closing(), world.now, world.host)


def test_nothing_is_sent_after_a_restart_with_nothing_left() -> None:
    world = make_world()
    world.work(150)
    world.crash(1.0)
    answer = world.quota.acquire(world.now)
    assert isinstance(answer, Denied)
    assert 900 <= answer.until < 903


def test_a_window_emptied_by_another_client_is_on_record() -> None:
    world = make_world()
    world.work(20)
    while world.server.count(world.now, "another client")[0] == 200:
        pass
    world.work(1, until=world.now + 5)
    refused = len(world.server.refused)
    world.crash(1.0)
    world.work(1)
    assert len(world.server.refused) == refused


def test_after_a_restart_the_requests_that_the_window_counted_are_own_ones() -> None:
    """The killed process had requests in flight that reached the window after the recorded one."""
    world = make_world(reserve=100)
    world.work(50)
    world.now = 900.5
    for _ in range(8):
        world.server.count(world.now)
    world.crash(2.0)
    world.work(60)
    assert world.server.most() == 50


def test_requests_are_stored_before_they_are_sent() -> None:
    world = make_world()
    for count in range(1, 151):
        world.work(1)
        assert world.record is not None
        assert count <= world.record.spent <= count + BLOCK
    assert world.saves <= 150 / BLOCK + 2


def test_a_larger_limit_is_stored_in_fifteenths() -> None:
    world = make_world(limit=3000, configured_limit=3000)
    for count in range(50, 3001, 50):
        world.work(50)
        assert world.record is not None
        assert count <= world.record.spent <= count + 200
    assert world.saves <= 15 + 3


def test_a_changed_limit_is_stored_before_more_is_spent() -> None:
    quota = make_quota(limit=40, reserve=3)
    for now in (0, 1):
        quota.observe(take(quota, now), now, 200, headers(now, 11, limit=40 - 28 * now))
    answer = quota.acquire(1)
    assert isinstance(answer, Block)
    assert quota.record(answer, 1.0, EPOCH + 1).limit == 12


def test_a_record_states_what_may_still_be_sent() -> None:
    quota = make_started_quota(remaining=100)
    take(quota, 1)
    answer = quota.acquire(1)
    while isinstance(answer, Token):
        answer = quota.acquire(1)
    assert isinstance(answer, Block)
    record = quota.record(answer, 1.0, EPOCH + 1)
    in_flight = 10
    assert record.spent == 1 + in_flight + BLOCK
    assert record.remaining == 100 - in_flight - BLOCK
    assert record.resets_at == R
    assert record.recorded_at == EPOCH + 1
    assert -2 < record.server_ahead <= 0


def test_a_record_for_another_end_than_an_answer_named_meanwhile_covers_nothing() -> None:
    quota = make_quota()
    probe = take(quota, 0)
    quota.unused(probe)
    quota = make_quota()
    first = quota.acquire(0)
    assert isinstance(first, Block)
    quota.stored(first)
    granted = quota.acquire(0)
    assert isinstance(granted, Token)
    block = Block(BLOCK, granted.window, R)
    quota.observe(granted, 0.1, 200, headers(0.1, 149, R + 900))
    quota.stored(block)
    assert isinstance(quota.acquire(0.2), Block)


def test_a_long_retry_after_outlasts_a_restart() -> None:
    quota = make_started_quota()
    quota.observe(take(quota, 1), 1.0, 429, headers(1, 0, retry_after=2000))
    record = quota.record(quota.closing(), 2.0, EPOCH + 2)
    successor = make_quota()
    successor.restore(record, 3.0, EPOCH + 3)
    assert 2000 <= denied_until(successor, 3.0) <= 2005


def test_a_host_clock_that_was_slewed_a_little_does_not_matter() -> None:
    world = make_world()
    world.work(150)
    world.sleep(898.9 - world.now)
    world.host_ahead += 0.7
    world.crash(0.5)
    world.work(1)
    assert world.server.refused == []


def test_a_wrong_host_clock_and_no_date_cost_one_request() -> None:
    world = make_world(dates=False, ahead=13_355.0)
    world.work(150)
    world.host_ahead += 8000
    world.crash(40)
    world.work(150)
    assert len(world.server.refused) <= 1


def test_a_guessed_record_is_replaced_once_the_window_is_named() -> None:
    quota = make_started_quota()
    assert isinstance(quota.acquire(1), Block)


def test_possible_requests_of_an_earlier_process_are_added_to_those_in_flight() -> None:
    quota = make_quota(limit=12, window=8)
    quota.restore(QuotaRecord(12, 6, None, int(EPOCH) - 100, 0.0, EPOCH - 101), 0.0, EPOCH)
    take(quota, 1)
    second = take(quota, 10)  # the guessed window was over
    quota.observe(second, 10, 200, headers(10, 10, limit=12))
    quota.reserve = 6
    assert quota.snapshot(10).remaining == 12 - 6 - 3
