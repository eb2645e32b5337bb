"""A backfill that ends early keeps what it stored, and the same command continues."""

from __future__ import annotations

import random
import signal
import time
from datetime import date

import pytest

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.faults import Faults
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.acceptance.conftest import Install
from tests.support.simulation import refused_per_window
from tests.support.truth import Wanted, assert_harvested, stored_rows

CONCURRENCY = 8  # the default
WORLD = World()
PHONES = tuple(f"80055501{number:02}" for number in range(20))
BACKFILL = ("backfill", "--start", "2024-10-01", "--end", "2025-06-30", "--json")
PLANNED = 3 * len(PHONES)  # 273 days each
NARROW = {"max_days_per_request": 92}
WANTED = Wanted(date(2024, 10, 1), date(2025, 6, 30), (Period.DAY,), PHONES, world=WORLD)


def sent(api: SimulatedApi) -> int:
    return sum(api.requests_per_window().values())


def served(options: Options) -> SimulatedApi:
    return SimulatedApi([Account(world=WORLD)], options)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_130_and_nothing_is_requested_twice(
    number: signal.Signals, sqlite_url: str, install: Install
) -> None:
    api = served(Options(limit=25, window=2, latency=0.05))
    harvester = install(api, sqlite_url, phones=list(PHONES), api=NARROW)
    with harvester.started(*BACKFILL) as running:
        running.until(lambda: sent(api) >= 20)
        running.signal(number)
        interrupted = running.ended(within=10.0)

    assert interrupted.code == 130
    first = interrupted.result
    assert first["error"]["code"] == first["accounts"][0]["error"]["code"] == "interrupted"
    assert first["accounts"][0]["exit"] == 130
    assert "Traceback" not in interrupted.err
    stored = stored_rows(sqlite_url).total()
    assert stored == first["rows"]["new"] > 0
    assert first["slices"]["done"] == first["requests"] == sent(api) < PLANNED

    second = harvester.run(*BACKFILL)
    assert second.code == 0
    assert second.result["requests"] + first["requests"] == sent(api) == PLANNED
    assert not refused_per_window(api)
    assert_harvested(sqlite_url, WANTED)


def test_slow_answers_in_flight_are_waited_for_and_stored(sqlite_url: str, install: Install) -> None:
    api = served(Options(latency=0.7))
    harvester = install(api, sqlite_url, phones=list(PHONES), api=NARROW)
    with harvester.started(*BACKFILL) as running:
        running.until(lambda: sent(api) >= CONCURRENCY)
        running.signal(signal.SIGINT)
        interrupted = running.ended(within=10.0)

    assert interrupted.code == 130
    assert CONCURRENCY <= interrupted.result["slices"]["done"] == sent(api) < PLANNED


def test_a_second_signal_leaves_at_once(store_url: str, install: Install) -> None:
    api = served(Options(faults=Faults(slow=1.0, slow_seconds=30.0)))
    harvester = install(api, store_url, phones=list(PHONES), api=NARROW)
    with harvester.started(*BACKFILL) as running:
        running.until(lambda: sent(api) >= 1)
        running.signal(signal.SIGINT)
        running.until(lambda: "interrupted" in running.err)
        running.signal(signal.SIGINT)
        began = time.monotonic()
        ended = running.ended(within=5.0)

    assert time.monotonic() - began < 2.0
    assert ended.code == 130
    assert ended.result["error"]["code"] == "interrupted"
    assert [account["exit"] for account in ended.result["accounts"]] == [130]

    api.options = Options()
    assert harvester.run(*BACKFILL).code == 0
    assert_harvested(store_url, WANTED)


def test_a_signal_ends_a_wait_for_the_quota(sqlite_url: str, install: Install) -> None:
    api = served(Options(limit=5, window=900))
    harvester = install(api, sqlite_url, phones=list(PHONES), api=NARROW)
    with harvester.started(*BACKFILL) as running:
        running.until(lambda: sent(api) == 5)
        running.signal(signal.SIGTERM)
        ended = running.ended(within=5.0)

    assert (ended.code, ended.result["slices"]["done"]) == (130, 5)


def test_a_signal_ends_a_wait_for_the_account(sqlite_url: str, install: Install) -> None:
    api = served(Options(limit=5, window=900))
    harvester = install(api, sqlite_url, phones=list(PHONES), api=NARROW)
    with harvester.started(*BACKFILL) as holder:
        holder.until(lambda: sent(api) == 5)
        with harvester.started(*BACKFILL) as waiting:
            waiting.until(lambda: str(holder.pid) in waiting.err)
            waiting.signal(signal.SIGINT)
            ended = waiting.ended(within=5.0)

    assert (ended.code, ended.result["requests"]) == (130, 0)


def test_kills_cost_few_requests_and_lose_nothing(store_url: str, install: Install) -> None:
    limit, kills = 40, 5
    faults = Faults(server_error=0.04, drop=0.04, cut=0.04)
    api = served(Options(limit=limit, window=2, latency=0.02, jitter=0.05, faults=faults))
    harvester = install(api, store_url, phones=list(PHONES), api=NARROW)
    chance = random.Random(7)  # noqa: S311 - moments of the kills
    for _ in range(kills):
        with harvester.started(*BACKFILL) as running:
            enough = sent(api) + chance.randrange(1, 9)
            running.until(lambda enough=enough: sent(api) >= enough)  # type: ignore[misc]
            time.sleep(chance.random() * 0.05)
            running.kill()
    finished = harvester.run(*BACKFILL)

    assert finished.code == 0, finished.err
    assert_harvested(store_url, WANTED)
    # The server counts for all processes together.
    assert max(api.requests_per_window().values()) <= limit
    assert not any(refused_per_window(api).values())
    again = [count - 1 for path, count in api.visits.items() if path.startswith("/performance")]
    faults_seen = sum(1 for visit in api.journal if visit.fault is not None)
    assert sum(again) <= kills * 2 * CONCURRENCY + faults_seen
