"""The quota answer by answer: each rule of the window by an example."""

from __future__ import annotations

import pytest

from harvester.core.headers import QuotaHeaders
from harvester.core.quota import Token
from tests.support.quota_steps import R, ask, begun, facts, opens, quota, take, until
from tests.support.window_server import EPOCH


def test_of_an_unknown_quota_exactly_one_request_goes_first() -> None:
    made = quota()
    first = take(made, 0.0)
    assert isinstance(ask(made, 0.0), float)
    made.observe(first, 0.1, 200, facts(0.1, 149))
    for _ in range(8):
        take(made, 0.2)


def test_a_lost_first_request_lets_the_next_one_go() -> None:
    made = quota()
    made.lost(take(made, 0.0), 1.0)
    take(made, 1.0)
    assert isinstance(ask(made, 1.0), float)


def test_an_unused_request_is_given_back() -> None:
    made = begun(limit=3, remaining=149)
    made.limit = 3
    first, _ = take(made, 1), take(made, 1)
    assert isinstance(ask(made, 1), float)
    made.unused(first)
    take(made, 1)
    assert isinstance(ask(made, 1), float)


def test_requests_in_flight_count_against_remaining() -> None:
    made = quota(limit=4)
    made.observe(take(made, 0.5), 0.6, 200, facts(0.55, 3, limit=4))
    tokens = [take(made, 1) for _ in range(3)]
    assert isinstance(ask(made, 1), float)
    made.observe(tokens[2], 2, 200, facts(2, 0, limit=4))  # the last one counted comes first
    made.observe(tokens[0], 2, 200, facts(2, 2, limit=4))
    assert isinstance(ask(made, 2), float)


def test_beside_somebody_else_the_last_go_one_at_a_time_and_one_is_left() -> None:
    made = begun(remaining=4)
    for left in (3, 2, 1):
        token = take(made, 1, waiting=8)
        assert until(made, 1, waiting=7) >= 900
        made.observe(token, 1, 200, facts(1, left))
    assert until(made, 1, waiting=8) >= 900


def test_beside_somebody_else_the_last_request_of_a_plan_is_sent() -> None:
    made = begun(remaining=1)
    assert until(made, 1, waiting=2) >= 900
    take(made, 1)


def test_beside_somebody_else_one_goes_first_after_a_pause() -> None:
    made = begun(remaining=100)
    tokens = [take(made, 1, waiting=8), take(made, 1, waiting=7)]
    for token in tokens:
        made.observe(token, 1, 200, facts(1, 98))
    first = take(made, 600, waiting=8)
    assert until(made, 600, waiting=7) >= 900
    made.observe(first, 600, 200, facts(600, 20))
    assert sum(isinstance(ask(made, 600, waiting=8), Token) for _ in range(8)) == 8


def test_beside_somebody_else_a_request_that_hangs_keeps_nobody_from_going_first() -> None:
    made = begun(remaining=100)
    take(made, 1, waiting=8)
    made.observe(take(made, 1, waiting=7), 2, 200, facts(2, 98))
    take(made, 30, waiting=8)
    assert until(made, 30, waiting=7) >= 900


def test_others_are_seen_only_where_a_limit_is_told() -> None:
    made = quota(limit=150)
    made.observe(take(made, 0.5), 0.6, 200, facts(0.55, 1, limit=None))
    take(made, 1, waiting=8)


def test_the_reserve_is_left_alone() -> None:
    made = begun(reserve=100, remaining=149)
    assert sum(isinstance(ask(made, 1), Token) for _ in range(60)) == 49


def test_a_reserve_above_the_limit_still_asks_once_a_window() -> None:
    made = quota(limit=10, reserve=10)
    take(made, 0)
    assert isinstance(ask(made, 0), float)


def test_a_late_answer_of_the_old_window_changes_nothing() -> None:
    made = begun(remaining=149)
    late = take(made, 899)
    roll = opens(made, 899.5)
    made.observe(take(made, roll), roll + 0.1, 200, facts(roll + 0.1, 148, R + 900))
    before = made.snapshot(roll + 1)
    made.observe(late, roll + 1, 429, facts(roll + 1, 0, retry_after=600))
    after = made.snapshot(roll + 1)
    assert (after.limit, after.resets_at) == (before.limit, before.resets_at)
    assert after.remaining == before.remaining + 1  # it was in flight over the roll, and spent in both until now


def test_a_newer_reset_is_followed() -> None:
    made = begun(remaining=2)
    made.observe(take(made, 899.99), 900.05, 200, facts(900.02, 149, R + 900))
    assert made.snapshot(900.1).resets_at == R + 900
    assert made.snapshot(900.1).remaining == 149


def test_a_roll_waits_for_the_safe_end() -> None:
    roll = opens(begun())
    assert 900 <= roll < 901.5


def test_a_refusal_in_the_first_second_adds_a_margin() -> None:
    made = begun()
    roll = opens(made)
    made.observe(take(made, roll), roll + 0.1, 429, facts(roll, 0, R + 900))
    assert made.margin.seconds == 1


def test_a_refusal_empties_the_window() -> None:
    made = begun()
    made.observe(take(made, 1), 1.1, 429, facts(1, None))
    assert until(made, 1.2) >= 900


def test_retry_after_counts_where_it_is_longer() -> None:
    made = begun()
    made.observe(take(made, 1), 1.0, 429, facts(1, 0, retry_after=2000))
    assert until(made, 2) == 2001
    assert until(made, 1000) == 2001
    take(made, 2001)


def test_retry_after_counts_where_there_is_no_reset() -> None:
    made = quota()
    made.observe(take(made, 0), 0.0, 429, QuotaHeaders(retry_after=20))
    assert 20 <= until(made, 0.1) <= 22
    take(made, 22)


def test_retry_after_of_a_proxy_does_not_make_the_spending_forgotten() -> None:
    made = begun(remaining=149)
    for _ in range(100):
        made.observe(take(made, 1), 1.0, 200, facts(1, None))
    made.observe(take(made, 1), 1.0, 503, QuotaHeaders(retry_after=20))
    assert until(made, 2) == 21
    take(made, 21)
    assert made.snapshot(21).remaining <= 47


def test_the_servers_limit_is_believed() -> None:
    made = quota(limit=5)
    made.observe(take(made, 0.5), 0.6, 200, facts(0.6, 149))
    assert sum(isinstance(ask(made, 1), Token) for _ in range(200)) == 149


@pytest.mark.parametrize("reset", [R + 86_400, R - 86_400, R + 5 * 3600, R - 5 * 3600, R - 1000])
def test_a_nonsense_reset_counts_as_absent(reset: int) -> None:
    made = quota(limit=10)
    for count in range(10):
        made.observe(take(made, 1), 1.1, 200, facts(1, None, reset, limit=10))
        assert made.snapshot(1.1).resets_at == R, count
    assert 900 <= until(made, 2) < 902


def test_a_clock_that_was_stepped_back_does_not_hold_us() -> None:
    """Without a Date, only the Reset tells of it."""
    made = begun(remaining=149)
    roll = opens(made)
    token = take(made, roll)
    made.observe(token, roll, 200, facts(roll, 100, R - 3600, date=R - 3700))
    assert made.snapshot(roll).resets_at == R - 3600
    assert made.snapshot(roll).remaining == 100


def test_machines_that_disagree_stop_us_until_all_have_rolled() -> None:
    made = begun(remaining=149)
    roll = opens(made)
    made.observe(take(made, roll), roll, 200, facts(roll, 149, R + 900))
    early, late = take(made, roll), take(made, roll)
    before = made.snapshot(roll).remaining
    made.observe(late, roll, 200, facts(roll, 0, R))
    assert made.snapshot(roll).resets_at == R + 900
    assert made.snapshot(roll).remaining == before + 1  # the one that the old window counted
    pause = until(made, roll)
    assert roll + 1 <= pause <= roll + 5
    made.observe(early, roll, 200, facts(roll, 147, R + 900))
    assert until(made, roll) == pause
    take(made, pause)


def test_a_window_left_too_early_goes_on_where_it_was() -> None:
    made = quota(limit=10, reserve=5)
    made.observe(take(made, 0.5), 0.6, 200, facts(0.55, 9, limit=10))
    made.observe(take(made, 1), 1, 200, facts(1, None, limit=10))
    roll = 901.5
    made.observe(take(made, roll), roll, 200, facts(roll, None, R, limit=10))
    assert made.snapshot(roll).resets_at == R
    assert made.snapshot(roll).remaining == 2
    assert [isinstance(ask(made, roll), Token) for _ in range(3)] == [True, True, False]
    assert until(made, roll) >= roll + 1


def test_a_request_lost_near_the_roll_is_spent_in_both_windows() -> None:
    made = begun(limit=5, remaining=149)
    made.limit = 5
    made.lost(take(made, 899), 899.5)
    assert made.snapshot(950).resets_at == R + 900
    assert made.snapshot(950).remaining == 4


def test_a_request_lost_long_before_the_roll_is_not() -> None:
    made = begun(limit=5, remaining=149)
    made.limit = 5
    made.lost(take(made, 100), 160)
    assert made.snapshot(950).remaining == 5


def test_a_lost_request_may_have_been_counted() -> None:
    made = begun(remaining=3)
    made.lost(take(made, 1), 2)
    assert made.snapshot(2).remaining == 2
    made.observe(take(made, 3), 3, 200, facts(3, 1))  # it was: 3, less it, less this one
    assert made.snapshot(3).remaining == 1


def test_an_outage_does_not_use_the_quota_up_for_ever() -> None:
    made = quota(limit=5)
    for now in range(0, 9000, 60):
        token = ask(made, now)
        if isinstance(token, Token):
            made.lost(token, now + 59)
    made.observe(take(made, 9100), 9100, 200, facts(9100, 149, R + 9000, limit=5))
    assert made.snapshot(9100).remaining >= 3


def test_a_lost_request_of_an_assumed_window_counts_in_the_one_that_is_named() -> None:
    made = quota(limit=5, window=8)
    made.observe(take(made, 0), 0, 200, facts(0, None, limit=5))
    made.lost(take(made, 902), 903)
    made.observe(take(made, 903), 903, 200, facts(903, None, R + 900, limit=5))
    assert made.snapshot(903).remaining == 3


def test_an_answer_of_a_failing_proxy_is_no_answer_about_the_quota() -> None:
    made = quota()
    for _ in range(5):
        made.observe(take(made, 0), 0, 502, QuotaHeaders())
        first = take(made, 0)
        assert isinstance(ask(made, 0), float)
        made.unused(first)


def test_a_slow_answer_to_a_request_older_than_what_named_the_window_is_late() -> None:
    made = quota(limit=5, window=8)
    slow = take(made, 0)
    other = take(made, 10)  # the guessed window was over
    made.observe(slow, 100, 200, facts(100, None, int(EPOCH) + 120, limit=5))
    before = made.snapshot(101)
    made.observe(other, 101, 429, facts(101, 0, int(EPOCH) + 60, limit=5))
    after = made.snapshot(101)
    assert after.resets_at == before.resets_at == int(EPOCH) + 120
    assert after.remaining == before.remaining + 1


def test_an_answer_of_a_window_shorter_than_assumed_stays_spent() -> None:
    made = quota(limit=5, window=900)
    made.observe(take(made, 0), 0, 200, facts(0, 4, int(EPOCH) + 60, limit=5))
    slow = take(made, 59.9)
    roll = 62.0
    probe = take(made, roll)  # assumed to last 900 s
    made.observe(slow, roll, 200, facts(roll, None, int(EPOCH) + 120, limit=5))
    made.observe(probe, roll, 200, facts(roll, None, int(EPOCH) + 120, limit=5))
    assert made.snapshot(roll).resets_at == int(EPOCH) + 120
    assert made.snapshot(roll).remaining == 3


def test_a_nameless_answer_around_the_end_is_spent_in_both_windows() -> None:
    made = quota(limit=5)
    for now in (10.0, 20.0, 899.9):
        made.observe(take(made, now), now + 0.3, 200, facts(now + 0.3, None, None, limit=None))
    assert made.snapshot(902).resets_at == R + 900
    assert made.snapshot(902).remaining == 4


@pytest.mark.parametrize("ahead", [5000, -5000])
def test_the_first_date_moves_the_guessed_windows(ahead: int) -> None:
    made = quota(limit=5)
    made.observe(take(made, 0), 0.1, 200, facts(ahead, None, None, limit=None))
    assert made.snapshot(1).resets_at == int(EPOCH) + ahead + 400 + (100 if ahead < 0 else 0)
    assert made.snapshot(1).remaining == 4


def test_of_two_windows_that_it_may_be_the_later_one_is_guessed() -> None:
    made = quota()
    made.observe(take(made, 0.5), 0.6, 200, facts(0.55, None, None))
    assert made.snapshot(2699.7).resets_at == int(EPOCH) + 3600
