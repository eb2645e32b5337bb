"""A database that neither answers nor closes: the daemon says so, obeys signals, and recovers."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.daemon import (
    TIMEOUT_SECONDS,
    account_of,
    assert_complete,
    calendar_at_noon,
    daemon,
    past_of,
    prepared,
)
from tests.support.fault_proxy import Timeout, proxied_postgres
from tests.support.truth import Wanted

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install

CALENDAR = calendar_at_noon()
WORLD = World(calendar=CALENDAR)
PHONES = tuple(f"80055501{number:02}" for number in range(3))
DAYS = 30
WANTED = Wanted(*past_of(CALENDAR, DAYS), (Period.DAY,), PHONES, world=WORLD)
HONEST_SECONDS = 30.0  # within which /readyz follows a fault
STOP_SECONDS = 16.0  # within which the process ends, whatever the database does
RECOVERY_SECONDS = 60.0


def account() -> dict[str, Any]:
    return account_of(CALENDAR, DAYS, phones=list(PHONES))


def served() -> SimulatedApi:
    return SimulatedApi([Account(world=WORLD)], Options())


def test_a_deaf_database_is_reported_and_waited_for(postgres_url: str, install: Install) -> None:
    with proxied_postgres(postgres_url) as (proxy, url), daemon(prepared(install(served(), url, **account()))) as run:
        run.until_idle()
        proxy.add(Timeout())
        run.until(lambda: run.readiness()[0] == 503, within=HONEST_SECONDS)
        assert run.states() == {"main": "no database"}
        assert run.metric("harvester_account_up", account="main") == 0
        run.until(lambda: bool(run.events("no_database")), within=HONEST_SECONDS)
        assert run.ask("/healthz")[0] == 200
        proxy.heal()
        run.until(lambda: run.readiness()[0] == 200, within=RECOVERY_SECONDS)
        run.until_idle()
        assert not run.events("bug")
    assert_complete(postgres_url, WANTED)


def test_a_daemon_with_a_deaf_database_stops_in_time(postgres_url: str, install: Install) -> None:
    with proxied_postgres(postgres_url) as (proxy, url), daemon(prepared(install(served(), url, **account()))) as run:
        run.until_idle()
        proxy.add(Timeout())
        time.sleep(3.0)
        run.running.signal(signal.SIGTERM)
        ended = run.running.ended(within=STOP_SECONDS)
    assert ended.code == 0
    assert "Traceback" not in ended.err


def test_a_daemon_stops_in_time_while_a_table_is_locked(postgres_url: str, install: Install) -> None:
    harvester = prepared(install(served(), postgres_url, **account()))
    assert harvester.run("migrate").code == 0
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE value, series")
        with daemon(harvester) as run:
            run.until(lambda: run.readiness()[0] == 503, within=HONEST_SECONDS)
            run.running.signal(signal.SIGTERM)
            assert run.running.ended(within=STOP_SECONDS).code == 0


def test_a_daemon_stops_in_time_while_the_file_is_locked(sqlite_url: str, install: Install) -> None:
    harvester = prepared(install(served(), sqlite_url, **account()))
    assert harvester.run("migrate").code == 0
    with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
        other.execute("BEGIN IMMEDIATE")
        with daemon(harvester) as run:
            run.until(lambda: "has not answered" in run.reason(), within=HONEST_SECONDS)
            assert run.readiness()[0] == 503
            run.running.signal(signal.SIGTERM)
            assert run.running.ended(within=STOP_SECONDS).code == 0


@pytest.mark.parametrize(("command", "code"), [(("run",), 0), (("backfill", "--start", "2024-01-01"), 130)])
def test_a_call_that_nothing_can_end_is_abandoned(command: tuple[str, ...], code: int, install: Install) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"postgresql://postgres@127.0.0.1:{deaf.getsockname()[1]}/db?connect_timeout=60"
        harvester = prepared(install(served(), url, **account()))
        with harvester.started(*command) as running:
            deaf.settimeout(TIMEOUT_SECONDS)
            with deaf.accept()[0]:
                running.signal(signal.SIGTERM)
                ended = running.ended(within=STOP_SECONDS + 3.0)
    assert ended.code == code
    assert "Traceback" not in ended.err
