"""The quota against a model server: never more than allowed in one of its windows, never refused, never stuck."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harvester.core.headers import Facts
from harvester.core.quota import BLOCK, Block, Denied, Granted, Quota, Token, Unstored
from tests.support.quota_world import World
from tests.support.window_server import EPOCH, WindowServer

if TYPE_CHECKING:
    from harvester.core.model import QuotaRecord

R = int(EPOCH) + 900  # end of the window in which a world begins


def quick(_: Random) -> float:
    return 0.01


def world(*, window: int = 900, begin: float = 1.0, **more: Any) -> World:
    """A world that begins in the first second of a window, host's and server's clock alike."""
    server = {name: more.pop(name) for name in list(more) if name in WindowServer.__dataclass_fields__}
    made = World(WindowServer(window=window, **server), configured_window=window, latency=quick, **more)
    made.now = begin
    made.start()
    return made


# Whole histories


@dataclass
class History:
    """What happens to a client, drawn from one seed."""

    seed: int
    dates: bool = True
    neighbour: bool = False
    names: bool = True  # limit, remaining and reset are told

    def play(self) -> World:
        random = Random(self.seed)  # noqa: S311 - a schedule, not a secret
        made = self._world(random)
        if self.neighbour:
            made.at(made.now + 1, lambda: self._spend(made, random))
        limit, window = made.server.limit, made.server.window
        for _ in range(random.randrange(1, 9)):
            kind = random.choice(("work", "work", "idle", "sleep", "crash"))
            if kind == "work":
                wanted = random.randrange(1, limit * 2)
                assert made.work(wanted) == wanted
            elif kind == "idle":
                made.work(10**9, until=made.now + random.uniform(0, window))
            elif kind == "sleep":
                made.sleep(random.choice((1, window / 2, 5 * window)) * random.random())
            elif self.names:  # long enough for what is under way to arrive; else nobody tells where it was counted
                made.crash(random.choice((0, 0, window)) * random.random() + window / 2)
        return made

    def _world(self, random: Random) -> World:
        window, limit = random.choice((8, 60, 900)), random.choice((12, 40))
        slow, slowest = random.choice((0, 0.05)), window / 5
        lose = random.choice((0, 0.03))
        configured = random.choice((window, window, 8, 900)) if self.dates and self.names and not lose else window
        made = World(
            WindowServer(
                limit=limit,
                window=window,
                ahead=random.choice((0, random.uniform(-5, 5), random.uniform(-1e5, 1e5))),
                drift=random.uniform(-1e-4, 1e-4),
                dates=self.dates,
                names_reset=self.names,
                names_remaining=self.names,
            ),
            random=random,
            reserve=random.choice((0, 3, limit // 2)),
            latency=lambda r: r.uniform(0.5, slowest) if r.random() < slow else r.uniform(0.001, 0.03),
            lose=lose,
            concurrency=random.choice((1, 3, 8)),
            configured_limit=random.choice((limit, limit + 30)) if self.names else limit,
            configured_window=configured,
            host_ahead=random.choice((0, random.uniform(-1e5, 1e5))),
        )
        made.now = random.uniform(0, 3 * window)
        made.start()
        return made

    def _spend(self, made: World, random: Random) -> None:
        for _ in range(random.randrange(1, 6)):
            made.server.count(made.now, "somebody else")
        made.at(made.now + random.uniform(0.1, made.server.window / 3), lambda: self._spend(made, random))


seeds = st.integers(0, 2**32)


@settings(max_examples=120, deadline=None)
@given(seed=seeds)
def test_no_window_counts_more_than_allowed_and_nothing_is_refused(seed: int) -> None:
    played = History(seed).play()
    assert played.server.most() <= played.server.limit - played.reserve
    assert played.server.refused == []


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_the_same_without_dates(seed: int) -> None:
    played = History(seed, dates=False).play()
    assert played.server.most() <= played.server.limit - played.reserve
    assert played.server.refused == []


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_the_same_with_nothing_but_dates(seed: int) -> None:
    played = History(seed, names=False).play()
    assert played.server.most() <= played.server.limit - played.reserve
    assert played.server.refused == []


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_with_somebody_else_we_keep_to_our_part(seed: int) -> None:
    played = History(seed, neighbour=True).play()
    assert played.server.most() <= played.server.limit - played.reserve


@settings(max_examples=30, deadline=None)
@given(
    ahead=st.sampled_from((0.0, 2.4, -2.4)) | st.floats(-8, 8),
    begin=st.floats(0, 8),
    concurrency=st.sampled_from((2, 8, 8, 32)),
)
@example(ahead=3.3, begin=0.5, concurrency=32)  # one Date in the first burst
@example(ahead=0.77, begin=0.8, concurrency=8)
def test_600_requests_end_within_three_percent_of_the_earliest_moment(
    ahead: float, begin: float, concurrency: int
) -> None:
    made = world(window=8, begin=begin, ahead=ahead, concurrency=concurrency)
    left, now = 600, begin + 0.02 + 1e-6  # nobody knows the limit before one answer
    while left > 150:
        roll = made.server.next_roll(now)
        left -= min(150, int((roll - now) / 0.02) * concurrency)
        now = roll
    earliest = now + 0.02 * -(-left // concurrency) - begin
    made.work(600)
    assert made.server.refused == []
    assert made.now - begin <= 1.03 * earliest


@pytest.mark.parametrize("drift", [50e-6, -50e-6])
def test_a_thousand_windows_of_drifting_clocks(drift: float) -> None:
    made = world(limit=2, configured_limit=2, drift=drift, ahead=7200.5)
    made.work(2000)
    assert made.server.refused == []
    assert made.server.total() == 2000
    windows = [index for index, _ in made.server.counts]
    assert max(windows) - min(windows) <= 1000  # each was used whole


def test_after_a_long_sleep_one_request_goes_first_and_one_window_is_used() -> None:
    made = world()
    made.work(150)
    made.sleep(40 * 900)
    made.work(150)
    assert sorted(made.server.counts.values()) == [150, 150]
    assert made.now < 41 * 900
    assert made.server.refused == []


# Scenarios, by hand


def quota(*, limit: int = 150, reserve: int = 0, window: float = 900) -> Quota:
    return Quota(limit=limit, window=window, reserve=reserve, now=0.0, host=EPOCH)


def ask(asked: Quota, now: float) -> Token | float:
    """A token, or the moment until which there is none; what has to be stored is."""
    answer = asked.acquire(now)
    if isinstance(answer, Unstored):
        asked.stored(answer.block)
        answer = asked.acquire(now)
    assert not isinstance(answer, Unstored)
    return answer.token if isinstance(answer, Granted) else answer.until


def take(asked: Quota, now: float) -> Token:
    token = ask(asked, now)
    assert isinstance(token, Token)
    return token


def until(asked: Quota, now: float) -> float:
    moment = ask(asked, now)
    assert isinstance(moment, float)
    return moment


def facts(now: float, remaining: int | None, reset: int | None = R, **more: Any) -> Facts:
    """An answer made at this moment by a server whose clock is right."""
    return Facts(remaining=remaining, reset=reset, **{"limit": 150, "date": int(EPOCH + now), **more})


def begun(*, remaining: int = 149, **more: Any) -> Quota:
    """A quota whose first request was answered in the first second of the window."""
    made = quota(**more)
    made.observe(take(made, 0.5), 0.6, 200, facts(0.55, remaining))
    return made


def opens(made: Quota, now: float = 1.0) -> float:
    """When the next window is entered, with nothing left in this one."""
    made.observe(take(made, now), now, 200, facts(now, 0))
    return until(made, now)


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
    made = begun(remaining=3)
    tokens = [take(made, 1) for _ in range(3)]
    assert isinstance(ask(made, 1), float)
    made.observe(tokens[2], 2, 200, facts(2, 0))  # the last one counted comes first
    made.observe(tokens[0], 2, 200, facts(2, 2))
    assert isinstance(ask(made, 2), float)


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
    made = begun(remaining=1)
    made.observe(take(made, 899.99), 900.05, 200, facts(900.02, 149, R + 900))
    assert made.snapshot(900.1).resets_at == R + 900
    assert made.snapshot(900.1).remaining == 149


def test_a_roll_waits_for_the_safe_end() -> None:
    roll = opens(begun())
    assert 900 <= roll < 901.5


def test_an_old_reset_after_our_roll_waits_again_with_a_margin() -> None:
    """Another machine's clock writes the Date: it is 3 s ahead of the one that counts."""
    made = world(date_ahead=3.0)
    made.work(150 * 20)
    refused = [moment for moment, _ in made.server.refused]
    assert 1 <= len(refused) <= 4  # until the margin is learnt
    assert max(refused) < 3 * 900
    assert made.quota.margin.seconds >= 2
    assert made.server.total() == 3000
    assert made.now < 19 * 900 + 10


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
    made.observe(take(made, 0), 0.0, 429, Facts(retry_after=20))
    assert 20 <= until(made, 0.1) <= 22
    take(made, 22)


def test_retry_after_of_a_proxy_does_not_make_the_spending_forgotten() -> None:
    made = begun(remaining=149)
    for _ in range(100):
        made.observe(take(made, 1), 1.0, 200, facts(1, None))
    made.observe(take(made, 1), 1.0, 503, Facts(retry_after=20))
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


@pytest.mark.parametrize("dates", [True, False])
def test_without_headers_windows_are_fixed_by_configuration(dates: bool) -> None:  # noqa: FBT001 - a parameter
    ahead = 333.3 if dates else 0.0  # without any header the host's clock is all there is
    made = world(names_reset=False, names_remaining=False, dates=dates, ahead=ahead)
    made.work(600)
    assert sorted(made.server.counts.values()) == [150] * 4
    assert made.server.refused == []


def test_lost_dates_do_not_stop_the_windows() -> None:
    made = world(limit=5, ahead=-4000.0, drift=50e-6)
    made.work(10)
    made.server.dates = False
    made.work(5 * 300)
    assert made.server.refused == []
    windows = [index for index, _ in made.server.counts]
    assert max(windows) - min(windows) <= 304


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -2.0, 2.0])
def test_a_stepped_server_clock_is_followed(step: float) -> None:
    made = world(window=60, ahead=10.0)
    made.work(100)
    made.server.ahead += step
    made.work(1000)
    assert len(made.server.refused) <= 2
    assert made.now < 60 * 9


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
    assert take(made, pause)


def test_a_window_left_too_early_goes_on_where_it_was() -> None:
    made = begun(limit=10, reserve=5, remaining=9)
    made.limit = 10
    made.observe(take(made, 1), 1, 200, facts(1, None, limit=10))
    roll = 901.5
    made.observe(take(made, roll), roll, 200, facts(roll, None, R, limit=10))
    assert made.snapshot(roll).resets_at == R
    assert made.snapshot(roll).remaining == 2
    assert [isinstance(ask(made, roll), Token) for _ in range(3)] == [True, True, False]
    assert until(made, roll) >= roll + 1


def test_dates_far_from_the_clock_that_counts_do_not_make_us_spin() -> None:
    made = world(date_ahead=100.0)
    made.work(150 * 6)
    assert len(made.server.refused) <= 15
    assert made.now < 900 * 13  # every second window, at worst


def test_a_longer_window_without_any_date_is_found_by_asking_seldom() -> None:
    made = world(window=3600, dates=False)
    made.configured_window = 8
    made.start()
    made.work(450)
    assert len(made.server.refused) <= 30
    assert made.server.most() == 150
    assert made.now < 3600 * 6


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


def test_without_headers_requests_go_side_by_side_after_three_answers() -> None:
    made = world(names_reset=False, names_remaining=False)
    made.work(150)
    assert made.now < 1.0 + 0.02 * (3 + 150 / 8 + 1)


def test_an_answer_of_a_failing_proxy_is_no_answer_about_the_quota() -> None:
    made = quota()
    for _ in range(5):
        made.observe(take(made, 0), 0, 502, Facts())
        first = take(made, 0)
        assert isinstance(ask(made, 0), float)
        made.unused(first)


@pytest.mark.parametrize("configured", [8, 60, 3600])
def test_another_length_than_configured_is_believed(configured: int) -> None:
    made = world(window=600)
    made.configured_window = configured
    made.start()
    made.work(450)
    assert sorted(made.server.counts.values()) == [150] * 3
    assert made.server.refused == []


def test_somebody_else_is_seen_in_remaining() -> None:
    made = world()
    for _ in range(100):
        made.server.count(made.now, "somebody else")
    made.work(100)
    assert sorted(made.server.counts.values()) == [50, 50, 100]
    assert made.server.refused == []


# Over restarts


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


def test_a_changed_limit_is_written_down_before_more_is_spent() -> None:
    made = quota(limit=40, reserve=3)
    made.observe(take(made, 0), 0, 200, facts(0, 11, limit=12))
    answer = made.acquire(1)
    assert isinstance(answer, Unstored)
    assert made.record(answer.block, 1.0, EPOCH + 1).limit == 12


def test_a_record_tells_what_may_still_be_sent() -> None:
    made = begun(remaining=100)
    take(made, 1)
    answer = made.acquire(1)
    while isinstance(answer, Granted):
        answer = made.acquire(1)
    assert isinstance(answer, Unstored)
    record = made.record(answer.block, 1.0, EPOCH + 1)
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
    assert isinstance(first, Unstored)
    made.stored(first.block)
    granted = made.acquire(0)
    assert isinstance(granted, Granted)
    block = Block(BLOCK, granted.token.window, R)
    made.observe(granted.token, 0.1, 200, facts(0.1, 149, R + 900))
    made.stored(block)
    assert isinstance(made.acquire(0.2), Unstored)


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
