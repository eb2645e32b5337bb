"""The quota answer by answer: an example of each rule of the window."""

from __future__ import annotations

import pytest

from harvester.core.headers import QuotaHeaders
from harvester.core.quota import Token
from tests.support.quota_steps import R, ask, denied_until, headers, make_quota, make_started_quota, next_entry, take
from tests.support.window_server import EPOCH


def test_in_an_unknown_window_exactly_one_request_goes_first() -> None:
    quota = make_quota()
    first = take(quota, 0.0)
    assert isinstance(ask(quota, 0.0), float)
    quota.observe(first, 0.1, 200, headers(0.1, 149))
    for _ in range(8):
        take(quota, 0.2)


def test_a_lost_first_request_lets_the_next_one_go() -> None:
    quota = make_quota()
    quota.lost(take(quota, 0.0), 1.0)
    take(quota, 1.0)
    assert isinstance(ask(quota, 1.0), float)


def test_an_unused_request_is_given_back() -> None:
    quota = make_started_quota(limit=3, remaining=149)
    quota.limit = 3
    first, _ = take(quota, 1), take(quota, 1)
    assert isinstance(ask(quota, 1), float)
    quota.unused(first)
    take(quota, 1)
    assert isinstance(ask(quota, 1), float)


def test_requests_in_flight_count_against_remaining() -> None:
    quota = make_quota(limit=4)
    quota.observe(take(quota, 0.5), 0.6, 200, headers(0.55, 3, limit=4))
    tokens = [take(quota, 1) for _ in range(3)]
    assert isinstance(ask(quota, 1), float)
    quota.observe(tokens[2], 2, 200, headers(2, 0, limit=4))  # the last one counted comes first
    quota.observe(tokens[0], 2, 200, headers(2, 2, limit=4))
    assert isinstance(ask(quota, 2), float)


def test_beside_another_client_the_last_requests_go_one_at_a_time_and_one_is_conceded() -> None:
    quota = make_started_quota(remaining=4)
    for left in (3, 2, 1):
        token = take(quota, 1, waiting=8)
        assert denied_until(quota, 1, waiting=7) >= 900
        quota.observe(token, 1, 200, headers(1, left))
    assert denied_until(quota, 1, waiting=8) >= 900


def test_beside_another_client_the_last_request_of_a_plan_is_sent() -> None:
    quota = make_started_quota(remaining=1)
    assert denied_until(quota, 1, waiting=2) >= 900
    take(quota, 1)


def test_beside_another_client_one_goes_first_after_a_pause() -> None:
    quota = make_started_quota(remaining=100)
    tokens = [take(quota, 1, waiting=8), take(quota, 1, waiting=7)]
    for token in tokens:
        quota.observe(token, 1, 200, headers(1, 98))
    first = take(quota, 600, waiting=8)
    assert denied_until(quota, 600, waiting=7) >= 900
    quota.observe(first, 600, 200, headers(600, 20))
    assert sum(isinstance(ask(quota, 600, waiting=8), Token) for _ in range(8)) == 8


def test_beside_another_client_a_request_that_hangs_does_not_stop_the_first_one() -> None:
    quota = make_started_quota(remaining=100)
    take(quota, 1, waiting=8)
    quota.observe(take(quota, 1, waiting=7), 2, 200, headers(2, 98))
    take(quota, 30, waiting=8)
    assert denied_until(quota, 30, waiting=7) >= 900


def test_other_clients_are_recognised_only_if_the_limit_is_stated() -> None:
    quota = make_quota(limit=150)
    quota.observe(take(quota, 0.5), 0.6, 200, headers(0.55, 1, limit=None))
    take(quota, 1, waiting=8)


def test_the_reserve_is_not_spent() -> None:
    quota = make_started_quota(reserve=100, remaining=149)
    assert sum(isinstance(ask(quota, 1), Token) for _ in range(60)) == 49


def test_with_a_reserve_above_the_limit_one_request_per_window_is_sent() -> None:
    quota = make_quota(limit=10, reserve=10)
    take(quota, 0)
    assert isinstance(ask(quota, 0), float)


def test_a_late_answer_of_the_old_window_changes_nothing() -> None:
    quota = make_started_quota(remaining=149)
    late = take(quota, 899)
    roll = next_entry(quota, 899.5)
    quota.observe(take(quota, roll), roll + 0.1, 200, headers(roll + 0.1, 148, R + 900))
    before = quota.snapshot(roll + 1)
    quota.observe(late, roll + 1, 429, headers(roll + 1, 0, retry_after=600))
    after = quota.snapshot(roll + 1)
    assert (after.limit, after.resets_at) == (before.limit, before.resets_at)
    assert after.remaining == before.remaining + 1  # it was in flight over the roll, and spent in both until now


def test_a_newer_reset_is_followed() -> None:
    quota = make_started_quota(remaining=2)
    quota.observe(take(quota, 899.99), 900.05, 200, headers(900.02, 149, R + 900))
    assert quota.snapshot(900.1).resets_at == R + 900
    assert quota.snapshot(900.1).remaining == 149


def test_a_roll_waits_for_the_certain_end() -> None:
    roll = next_entry(make_started_quota())
    assert 900 <= roll < 901.5


def test_a_refusal_in_the_first_second_adds_a_margin() -> None:
    quota = make_started_quota()
    roll = next_entry(quota)
    quota.observe(take(quota, roll), roll + 0.1, 429, headers(roll, 0, R + 900))
    assert quota.margin.seconds == 1


@pytest.mark.parametrize("answer", [headers(1, 0), headers(1, None), headers(1, 0, None)])
def test_a_refusal_of_the_api_empties_the_window(answer: QuotaHeaders) -> None:
    quota = make_started_quota()
    quota.observe(take(quota, 1), 1.1, 429, answer)
    assert denied_until(quota, 1.2) >= 900


@pytest.mark.parametrize("answer", [headers(1, 92), QuotaHeaders(), QuotaHeaders(date=int(EPOCH))])
def test_a_refusal_with_requests_left_is_a_short_pause(answer: QuotaHeaders) -> None:
    quota = make_started_quota()
    quota.observe(take(quota, 1), 1.1, 429, answer)
    assert denied_until(quota, 1.2) == 2.1
    assert quota.snapshot(1.2).paused_until == int(EPOCH) + 3
    quota.observe(take(quota, 2.1), 2.2, 429, answer)
    assert denied_until(quota, 2.3) == 4.2
    quota.observe(take(quota, 4.2), 4.3, 200, headers(4.2, 91))
    assert quota.snapshot(4.3).paused_until is None
    quota.observe(take(quota, 4.3), 4.4, 429, answer)
    assert denied_until(quota, 4.5) == 5.4  # an accepted request ends the doubling


def test_refusals_of_requests_in_flight_are_one_event() -> None:
    quota = make_started_quota()
    tokens = [take(quota, 1) for _ in range(8)]
    for token in tokens:
        quota.observe(token, 1.1, 429, headers(1, 92))
    assert denied_until(quota, 1.2) == 2.1


def test_without_any_quota_header_the_own_count_tells_a_burst_from_an_empty_window() -> None:
    quota = make_quota(limit=10)
    quota.observe(take(quota, 0), 0.1, 429, QuotaHeaders())
    assert denied_until(quota, 0.2) == 1.1
    for second in range(2, 6):
        quota.observe(take(quota, second), second + 0.1, 200, QuotaHeaders())
    quota.observe(take(quota, 6), 6.1, 429, QuotaHeaders())
    assert denied_until(quota, 6.2) >= 900


def test_a_retry_after_of_a_day_is_obeyed_for_four_windows_and_ended_by_an_accepted_request() -> None:
    quota = make_started_quota()
    first, second = take(quota, 1), take(quota, 1)
    quota.observe(first, 1.1, 503, QuotaHeaders(retry_after=86_400))
    assert denied_until(quota, 1.2) == 1.1 + 4 * 900
    quota.observe(second, 1.3, 200, headers(1.2, 147))
    take(quota, 1.4)


def test_a_403_is_followed_by_a_pause() -> None:
    quota = make_started_quota()
    quota.observe(take(quota, 1), 1.0, 403, QuotaHeaders(retry_after=7))
    assert denied_until(quota, 1.2) == 8.0
    quota = make_started_quota()
    quota.observe(take(quota, 1), 1.0, 403, QuotaHeaders())
    assert denied_until(quota, 1.2) == 2.0


def test_after_a_long_pause_one_request_goes_first() -> None:
    quota = make_started_quota()
    quota.observe(take(quota, 1), 1.0, 503, QuotaHeaders(retry_after=100))
    probe = take(quota, 101)
    assert isinstance(ask(quota, 101), float)
    quota.observe(probe, 101.1, 503, QuotaHeaders(retry_after=100))
    assert denied_until(quota, 101.2) == 201.1
    quota.observe(take(quota, 201.1), 201.2, 200, headers(201, 140))
    take(quota, 201.3)
    take(quota, 201.3)


def test_retry_after_counts_where_it_is_longer() -> None:
    quota = make_started_quota()
    quota.observe(take(quota, 1), 1.0, 429, headers(1, 0, retry_after=2000))
    assert denied_until(quota, 2) == 2001
    assert denied_until(quota, 1000) == 2001
    take(quota, 2001)


def test_retry_after_counts_where_there_is_no_reset() -> None:
    quota = make_quota()
    quota.observe(take(quota, 0), 0.0, 429, QuotaHeaders(retry_after=20))
    assert 20 <= denied_until(quota, 0.1) <= 22
    take(quota, 22)


def test_a_retry_after_of_a_proxy_does_not_reset_the_count() -> None:
    quota = make_started_quota(remaining=149)
    for _ in range(100):
        quota.observe(take(quota, 1), 1.0, 200, headers(1, None))
    quota.observe(take(quota, 1), 1.0, 503, QuotaHeaders(retry_after=20))
    assert denied_until(quota, 2) == 21
    take(quota, 21)
    assert quota.snapshot(21).remaining <= 47


def test_the_limit_that_the_server_states_counts() -> None:
    quota = make_quota(limit=5)
    quota.observe(take(quota, 0.5), 0.6, 200, headers(0.6, 149))
    assert sum(isinstance(ask(quota, 1), Token) for _ in range(200)) == 149


@pytest.mark.parametrize("reset", [R + 86_400, R - 86_400, R + 5 * 3600, R - 5 * 3600, R - 1000])
def test_a_nonsense_reset_counts_as_absent(reset: int) -> None:
    quota = make_quota(limit=10)
    for count in range(10):
        quota.observe(take(quota, 1), 1.1, 200, headers(1, None, reset, limit=10))
        assert quota.snapshot(1.1).resets_at == R, count
    assert 900 <= denied_until(quota, 2) < 902


def test_a_server_clock_that_was_stepped_back_stops_nothing() -> None:
    """Both Reset and Date are an hour back."""
    quota = make_started_quota(remaining=149)
    roll = next_entry(quota)
    token = take(quota, roll)
    quota.observe(token, roll, 200, headers(roll, 100, R - 3600, date=R - 3700))
    assert quota.snapshot(roll).resets_at == R - 3600
    assert quota.snapshot(roll).remaining == 100


def test_machines_that_disagree_stop_requests_until_all_have_rolled() -> None:
    quota = make_started_quota(remaining=149)
    roll = next_entry(quota)
    quota.observe(take(quota, roll), roll, 200, headers(roll, 149, R + 900))
    early, late = take(quota, roll), take(quota, roll)
    before = quota.snapshot(roll).remaining
    quota.observe(late, roll, 200, headers(roll, 0, R))
    assert quota.snapshot(roll).resets_at == R + 900
    assert quota.snapshot(roll).remaining == before + 1  # the one that the old window counted
    pause = denied_until(quota, roll)
    assert roll + 1 <= pause <= roll + 5
    quota.observe(early, roll, 200, headers(roll, 147, R + 900))
    assert denied_until(quota, roll) == pause
    take(quota, pause)


def test_a_window_that_was_left_too_early_goes_on() -> None:
    quota = make_quota(limit=10, reserve=5)
    quota.observe(take(quota, 0.5), 0.6, 200, headers(0.55, 9, limit=10))
    quota.observe(take(quota, 1), 1, 200, headers(1, None, limit=10))
    roll = 901.5
    quota.observe(take(quota, roll), roll, 200, headers(roll, None, R, limit=10))
    assert quota.snapshot(roll).resets_at == R
    assert quota.snapshot(roll).remaining == 2
    assert [isinstance(ask(quota, roll), Token) for _ in range(3)] == [True, True, False]
    assert denied_until(quota, roll) >= roll + 1


def test_a_request_lost_near_the_roll_is_spent_in_both_windows() -> None:
    quota = make_started_quota(limit=5, remaining=149)
    quota.limit = 5
    quota.lost(take(quota, 899), 899.5)
    assert quota.snapshot(950).resets_at == R + 900
    assert quota.snapshot(950).remaining == 4


def test_a_request_lost_long_before_the_roll_is_not() -> None:
    quota = make_started_quota(limit=5, remaining=149)
    quota.limit = 5
    quota.lost(take(quota, 100), 160)
    assert quota.snapshot(950).remaining == 5


def test_a_lost_request_may_have_been_counted() -> None:
    quota = make_started_quota(remaining=3)
    quota.lost(take(quota, 1), 2)
    assert quota.snapshot(2).remaining == 2
    quota.observe(take(quota, 3), 3, 200, headers(3, 1))  # it was: 3, less it, less this one
    assert quota.snapshot(3).remaining == 1


def test_an_outage_does_not_use_the_quota_up_for_ever() -> None:
    quota = make_quota(limit=5)
    for now in range(0, 9000, 60):
        token = ask(quota, now)
        if isinstance(token, Token):
            quota.lost(token, now + 59)
    quota.observe(take(quota, 9100), 9100, 200, headers(9100, 149, R + 9000, limit=5))
    assert quota.snapshot(9100).remaining >= 3


def test_a_lost_request_of_an_assumed_window_counts_in_the_one_that_is_named() -> None:
    quota = make_quota(limit=5, window=8)
    quota.observe(take(quota, 0), 0, 200, headers(0, None, limit=5))
    quota.lost(take(quota, 902), 903)
    quota.observe(take(quota, 903), 903, 200, headers(903, None, R + 900, limit=5))
    assert quota.snapshot(903).remaining == 3


def test_an_answer_of_a_failing_proxy_shows_nothing_about_the_quota() -> None:
    quota = make_quota()
    for _ in range(5):
        quota.observe(take(quota, 0), 0, 502, QuotaHeaders())
        first = take(quota, 0)
        assert isinstance(ask(quota, 0), float)
        quota.unused(first)


def test_a_slow_answer_to_a_request_older_than_what_named_the_window_is_late() -> None:
    quota = make_quota(limit=5, window=8)
    slow = take(quota, 0)
    other = take(quota, 10)  # the guessed window was over
    quota.observe(slow, 100, 200, headers(100, None, int(EPOCH) + 120, limit=5))
    before = quota.snapshot(101)
    quota.observe(other, 101, 429, headers(101, 0, int(EPOCH) + 60, limit=5))
    after = quota.snapshot(101)
    assert after.resets_at == before.resets_at == int(EPOCH) + 120
    assert after.remaining == before.remaining + 1


def test_an_answer_of_a_window_shorter_than_assumed_stays_spent() -> None:
    quota = make_quota(limit=5, window=900)
    quota.observe(take(quota, 0), 0, 200, headers(0, 4, int(EPOCH) + 60, limit=5))
    slow = take(quota, 59.9)
    roll = 62.0
    probe = take(quota, roll)  # assumed to last 900 s
    quota.observe(slow, roll, 200, headers(roll, None, int(EPOCH) + 120, limit=5))
    quota.observe(probe, roll, 200, headers(roll, None, int(EPOCH) + 120, limit=5))
    assert quota.snapshot(roll).resets_at == int(EPOCH) + 120
    assert quota.snapshot(roll).remaining == 3


def test_an_unnamed_answer_around_the_end_is_spent_in_both_windows() -> None:
    quota = make_quota(limit=5)
    for now in (10.0, 20.0, 899.9):
        quota.observe(take(quota, now), now + 0.3, 200, headers(now + 0.3, None, None, limit=None))
    assert quota.snapshot(902).resets_at == R + 900
    assert quota.snapshot(902).remaining == 4


@pytest.mark.parametrize("ahead", [5000, -5000])
def test_the_first_date_moves_the_guessed_windows(ahead: int) -> None:
    quota = make_quota(limit=5)
    quota.observe(take(quota, 0), 0.1, 200, headers(ahead, None, None, limit=None))
    assert quota.snapshot(1).resets_at == int(EPOCH) + ahead + 400 + (100 if ahead < 0 else 0)
    assert quota.snapshot(1).remaining == 4


def test_of_two_possible_windows_the_later_one_is_guessed() -> None:
    quota = make_quota()
    quota.observe(take(quota, 0.5), 0.6, 200, headers(0.55, None, None))
    assert quota.snapshot(2699.7).resets_at == int(EPOCH) + 3600
