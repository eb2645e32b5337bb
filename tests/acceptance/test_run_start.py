"""Start of the daemon with and without a database, messages to systemd, exit codes and endpoints."""

from __future__ import annotations

import re
import signal
import socket
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account
from harvester.simulator.world import World
from tests.support.daemon import (
    Manager,
    account_of,
    calendar_at_noon,
    daemon,
    prepared,
)
from tests.support.databases import query
from tests.support.postgres import running_cluster

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install
    from tests.support.process import Ended, Installation

WORLD = World(calendar=calendar_at_noon())
PASSWORD = "c4n4ry-not-to-be-printed"
METRICS = {
    "harvester_requests_total": {"account", "resource", "status"},
    "harvester_quota_limit": {"account"},
    "harvester_quota_remaining": {"account"},
    "harvester_quota_reset_timestamp_seconds": {"account"},
    "harvester_slices": {"account", "state"},
    "harvester_rows_total": {"account", "change"},
    "harvester_account_up": {"account"},
    "harvester_last_success_timestamp_seconds": {"account", "resource"},
    "harvester_config_last_reload_successful": set(),
    "harvester_build_info": {"version", "python"},
}


def served() -> SimulatedApi:
    return SimulatedApi([Account(world=WORLD, password=PASSWORD)])


def installed(install: Install, api: SimulatedApi, url: str, **settings: Any) -> Installation:
    settings = {"phones": ["ALL", "8005550101"], "password": PASSWORD, **settings}
    return prepared(install(api, url, **account_of(WORLD.calendar, 30, **settings)))


# Messages to systemd


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_notified_of_start_work_reload_and_end(
    kind: str, sqlite_url: str, tmp_path: Path, install: Install
) -> None:
    manager = Manager(str(tmp_path / "notify") if kind == "path" else None)
    harvester = installed(install, served(), sqlite_url)
    began = time.monotonic()
    with daemon(harvester, manager=manager, WATCHDOG_USEC="1000000") as run:
        assert manager.moments("READY=1")[0] - began < 5.0
        assert manager.messages[0][1]["READY"] == "1"
        assert manager.last("STATUS")

        run.until(lambda: len(manager.moments("WATCHDOG=1")) >= 4)
        fed = manager.moments("WATCHDOG=1")
        assert max(later - earlier for earlier, later in pairwise(fed)) < 1.0
        assert fed[3] - fed[0] > 1.0  # every half of the interval, no more often

        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        run.running.signal(signal.SIGHUP)
        run.until(lambda: len(manager.moments("READY=1")) == 2)
        (reloading,) = [fields for _, fields in manager.messages if "RELOADING" in fields]
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert manager.moments("RELOADING=1")[0] < manager.moments("READY=1")[1]

        run.running.signal(signal.SIGTERM)
        assert run.running.ended(within=10.0).code == 0
    assert len(manager.moments("STOPPING=1")) == 1
    assert manager.messages[-1][1].keys() >= {"STOPPING"}


def test_the_watchdog_of_another_process_gets_no_message(sqlite_url: str, install: Install) -> None:
    with daemon(installed(install, served(), sqlite_url), WATCHDOG_USEC="200000", WATCHDOG_PID="1") as run:
        run.until_idle()
        time.sleep(0.3)
        assert not run.manager.moments("WATCHDOG=1")


# Without a database


def test_a_database_that_is_down_delays_work_and_not_the_start(install: Install) -> None:
    api = served()
    with running_cluster() as cluster, cluster.database() as url:
        harvester = installed(install, api, url)
        cluster.stop("fast")
        began = time.monotonic()
        with daemon(harvester) as run:
            assert run.manager.moments("READY=1")[0] - began < 5.0
            run.until_state("no database")
            assert run.ask("/healthz") == (200, "ok\n")
            assert run.readiness()[0] == 503
            assert "cannot connect" in run.reason()
            assert run.metric("harvester_account_up", account="main") == 0
            assert api.total == 0
            cluster.start()
            run.until_idle()
            assert run.readiness()[0] == 200
            assert run.metric("harvester_account_up", account="main") == 1
            assert len(run.events("no_database")) == 1


def test_a_database_not_migrated_is_waited_for(postgres_url: str, install: Install) -> None:
    api = served()
    harvester = installed(install, api, postgres_url, database={"auto_migrate": False})
    with daemon(harvester) as run:
        run.until_state("no database")
        assert run.readiness()[0] == 503
        assert "harvester migrate" in run.reason()
        assert api.total == 0
        assert harvester.run("migrate").code == 0
        run.until_idle()
        assert run.readiness()[0] == 200


# Exit codes


def assert_left(ended: Ended, code: int, *words: str) -> None:
    assert ended.code == code, ended.err
    errors = [line for line in ended.err.splitlines() if line.startswith("harvester: ")]
    assert 1 <= len(errors) <= 2, ended.err
    for word in words:
        assert word in errors[0]
    assert "Traceback" not in ended.err


def test_a_newer_schema_leaves_74(store_url: str, install: Install) -> None:
    api = served()
    harvester = installed(install, api, store_url)
    assert harvester.run("migrate").code == 0
    query(store_url, "UPDATE harvester_version SET version_num = '9999'")
    assert_left(harvester.run("run", within=10.0), 74, "9999")
    assert api.total == 0


def test_an_account_without_a_start_leaves_78(sqlite_url: str, install: Install) -> None:
    harvester = prepared(install(served(), sqlite_url))
    assert_left(harvester.run("run", within=10.0), 78, "accounts.main", "start")
    assert_left(harvester.run("run", "--once", within=10.0), 78, "accounts.main", "start")


def test_a_port_in_use_leaves_78(sqlite_url: str, install: Install) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        harvester = installed(install, served(), sqlite_url)
        harvester.configure("daemon", listen=f"127.0.0.1:{port}")
        assert_left(harvester.run("run", within=10.0), 78, "daemon.listen", str(port))


def test_without_endpoints_it_works_and_ends(sqlite_url: str, install: Install) -> None:
    api = served()
    harvester = installed(install, api, sqlite_url)
    harvester.configure("daemon", listen="")
    with daemon(harvester) as run:
        run.until(lambda: api.total >= 3)
        run.running.signal(signal.SIGTERM)
        assert run.running.ended(within=10.0).code == 0


# Endpoints


def test_the_endpoints_return_everything_but_secrets(sqlite_url: str, install: Install) -> None:
    harvester = installed(install, served(), sqlite_url)
    with daemon(harvester) as run:
        run.until_idle()
        metrics = run.ask("/metrics")[1]
        for name, labels in METRICS.items():
            samples = re.findall(rf"^{name}(?:\{{(.*)\}})? \S+$", metrics, re.MULTILINE)
            assert samples, f"{name} is missing"
            assert all(set(re.findall(r'(\w+)="', sample)) == labels for sample in samples)
        assert run.metric("harvester_requests_total", account="main", resource="performance", status="200") == 2
        assert run.metric("harvester_quota_limit", account="main") == 150
        assert run.metric("harvester_quota_remaining", account="main") == 148
        assert run.metric("harvester_slices", account="main", state="done") == 2
        assert run.metric("harvester_rows_total", account="main", change="new") == 2 * 31 * 6
        assert run.metric("harvester_config_last_reload_successful") == 1
        stored = run.metric("harvester_last_success_timestamp_seconds", account="main", resource="performance")
        assert stored is not None
        assert abs(stored - time.time()) < 60

        for path in ("/", "/healthz", "/readyz", "/metrics"):
            status, body = run.ask(path)
            assert status == 200
            assert PASSWORD not in body
            assert run.ask(path, Host="rebound.example.com:80")[0] == 421
            assert run.ask(path, "POST")[0] == run.ask(path, "DELETE")[0] == 405
        assert run.ask("/nothing")[0] == 404
        assert run.running.err.count(PASSWORD) == 0
