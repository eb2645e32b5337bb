"""API or database missing: one plain line, the right exit code, and no request whose answer could not be stored."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.faults import Faults
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.acceptance.conftest import Install
from tests.support.databases import query
from tests.support.postgres import Cluster, running_cluster
from tests.support.process import Ended, Installation, Running, configuration
from tests.support.simulation import refused_per_window, serving_in_thread
from tests.support.truth import Wanted, assert_harvested

WORLD = World()
FATAL = ("html", "bad_gateway", "drop")
PHONES = tuple(f"80055501{number:02}" for number in range(20))
BACKFILL = ("backfill", "--start", "2024-01-01", "--end", "2024-12-31", "--json")
WANTED = Wanted(date(2024, 1, 1), date(2024, 12, 31), (Period.DAY,), PHONES, world=WORLD)


def sent(api: SimulatedApi) -> int:
    return sum(api.requests_per_window().values())


def messages(ended: Ended) -> list[str]:
    """Return the lines for the user, without log and progress."""
    return [line for line in ended.err.splitlines() if line.startswith("harvester: ")]


def assert_error(ended: Ended, code: int, word: str) -> None:
    assert ended.code == code, ended.err
    assert ended.result["error"]["code"] == word
    assert 1 <= len(messages(ended)) <= 2, ended.err
    assert "Traceback" not in ended.err


# Lasting errors take half a minute each, so these backfills run while the other tests do


@dataclass(frozen=True, slots=True)
class LostDatabase:
    """Backfill whose database went away while it ran."""

    running: Running
    harvester: Installation
    api: SimulatedApi
    cluster: Cluster
    url: str
    sent_before: int


@dataclass(frozen=True, slots=True)
class LastingError:
    """Backfill whose API never works."""

    running: Running
    api: SimulatedApi | None = None  # None: nothing listens


def at_a_faulty_server(stack: ExitStack, home: Path, faults: Faults) -> LastingError:
    api = SimulatedApi([Account(world=WORLD)], Options(faults=faults))
    url = stack.enter_context(serving_in_thread(api))
    harvester = Installation(home, configuration(url, f"sqlite:///{home}/store.db", phones=list(PHONES)))
    return LastingError(stack.enter_context(harvester.started(*BACKFILL)), api)


def behind_a_closed_port(stack: ExitStack, home: Path) -> LastingError:
    taken = stack.enter_context(socket.socket())  # bound, but not listening
    taken.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{taken.getsockname()[1]}/api"
    harvester = Installation(home, configuration(url, f"sqlite:///{home}/store.db", phones=list(PHONES)))
    return LastingError(stack.enter_context(harvester.started(*BACKFILL)))


@pytest.fixture(scope="module", autouse=True)
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LastingError]]:
    with ExitStack() as stack:
        faulty = {
            fault: at_a_faulty_server(stack, tmp_path_factory.mktemp(fault), Faults(**{fault: 1.0})) for fault in FATAL
        }
        yield {"port": behind_a_closed_port(stack, tmp_path_factory.mktemp("port")), **faulty}


@pytest.fixture(scope="module")
def database_gone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LostDatabase]:
    home = tmp_path_factory.mktemp("gone")
    api = SimulatedApi([Account(world=WORLD)], Options(limit=8, window=2))
    with running_cluster() as cluster, cluster.database() as url, serving_in_thread(api) as base_url:
        harvester = Installation(home, configuration(base_url, url, limit=8, window=2, phones=list(PHONES)))
        with harvester.started(*BACKFILL) as running:
            running.until(lambda: sent(api) >= 4)
            cluster.stop("fast")  # a crash would lose commits, because this cluster runs without fsync
            yield LostDatabase(running, harvester, api, cluster, url, sent(api))


def test_a_database_that_went_away_is_waited_for(database_gone: LostDatabase) -> None:
    running = database_gone.running
    running.until(lambda: "database_lost" in running.err)
    assert not running.has_ended


# The database


def assert_nothing_was_fetched(api: SimulatedApi) -> None:
    assert api.total == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_read_only_leaves_74(tmp_path: Path, install: Install) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    api = SimulatedApi()
    assert_error(install(api, f"sqlite:///{closed}/store.db").run(*BACKFILL), 74, "database")
    assert_nothing_was_fetched(api)


@pytest.mark.parametrize("name", ["/proc/self/store.db", "/nowhere/at/all/store.db", "/tmp"])  # noqa: S108 - a directory
def test_a_place_where_no_file_can_be_leaves_74(name: str, install: Install) -> None:
    api = SimulatedApi()
    assert_error(install(api, f"sqlite:///{name}").run(*BACKFILL), 74, "database")
    assert_nothing_was_fetched(api)


def test_a_file_that_is_no_database_leaves_74_and_is_not_changed(tmp_path: Path, install: Install) -> None:
    path = tmp_path / "store.db"
    garbage = b"not a database\n" * 1000
    path.write_bytes(garbage)
    api = SimulatedApi()
    harvester = install(api, f"sqlite:///{path}")
    for command in (BACKFILL, ("plan", *BACKFILL[1:])):
        assert_error(harvester.run(*command), 74, "database")
    assert path.read_bytes() == garbage
    assert_nothing_was_fetched(api)


def test_a_database_newer_than_the_program_leaves_74(store_url: str, install: Install) -> None:
    api = SimulatedApi()
    harvester = install(api, store_url)
    assert harvester.run("migrate").code == 0
    query(store_url, "UPDATE harvester_version SET version_num = '9999'")
    assert_error(harvester.run(*BACKFILL), 74, "database")
    assert_nothing_was_fetched(api)


def test_postgresql_is_migrated_only_by_command(postgres_url: str, install: Install) -> None:
    api = SimulatedApi([Account(world=WORLD)])
    harvester = install(api, postgres_url, database={"auto_migrate": False}, phones=list(PHONES))
    refused = harvester.run(*BACKFILL)
    assert_error(refused, 74, "database")
    assert "harvester migrate" in messages(refused)[0]
    assert_nothing_was_fetched(api)

    assert harvester.run("migrate").code == 0
    assert harvester.run(*BACKFILL).code == 0
    assert_harvested(postgres_url, WANTED)


def test_a_file_locked_by_another_program_is_waited_for(tmp_path: Path, install: Install) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    api = SimulatedApi([Account(world=WORLD)], Options(limit=10, window=2))
    harvester = install(api, url, phones=list(PHONES))
    with harvester.started(*BACKFILL) as running:
        running.until(lambda: sent(api) >= 1)
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None, timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(0.3)
            other.execute("COMMIT")
        ended = running.ended()

    assert ended.code == 0, ended.err
    assert_harvested(url, WANTED)


def test_a_backfill_continues_when_the_database_comes_back(install: Install) -> None:
    with running_cluster() as cluster, cluster.database() as url:
        api = SimulatedApi([Account(world=WORLD)], Options(limit=8, window=2))
        harvester = install(api, url, phones=list(PHONES))
        with harvester.started(*BACKFILL) as running:
            running.until(lambda: sent(api) >= 4)
            cluster.stop("fast")  # a crash would lose commits, because this cluster runs without fsync
            before = sent(api)
            cluster.start()
            ended = running.ended()

        assert ended.code == 0, ended.err
        assert before < len(PHONES)
        # Answers that could not be stored are requested again.
        assert sent(api) <= len(PHONES) + 2 * 8
        assert max(api.requests_per_window().values()) <= 8
        assert not any(refused_per_window(api).values())
        assert_harvested(url, WANTED)

        slices = ended.result["slices"]
        assert slices["done"] == slices["planned"] == len(PHONES)
        assert slices["already_covered"] == 0


def test_a_database_that_stays_away_leaves_74(database_gone: LostDatabase) -> None:
    api = database_gone.api
    ended = database_gone.running.ended()
    assert_error(ended, 74, "database")
    assert sent(api) <= database_gone.sent_before + 8  # those already in flight

    database_gone.cluster.start()
    assert database_gone.harvester.run(*BACKFILL).code == 0
    assert_harvested(database_gone.url, WANTED)


# The API


@pytest.mark.parametrize("fault", FATAL)
def test_a_server_that_only_fails_leaves_69_after_few_requests(fault: str, lasting: dict[str, LastingError]) -> None:
    backfill = lasting[fault]
    ended = backfill.running.ended()

    assert_error(ended, 69, "unreachable")
    assert backfill.api is not None
    assert sent(backfill.api) <= 40
    assert ended.result["failed"] == []  # no slice is the cause


def test_a_closed_port_leaves_69(lasting: dict[str, LastingError]) -> None:
    ended = lasting["port"].running.ended()

    assert_error(ended, 69, "unreachable")
    assert ended.result["elapsed_seconds"] < 60
    assert ended.result["requests"] == 0
