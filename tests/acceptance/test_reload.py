"""SIGHUP restarts only what has changed: each start of an account costs a request for each series."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account
from harvester.simulator.world import World
from tests.support.daemon import Daemon, account_of, calendar_at_noon, daemon, prepared

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install
    from tests.support.process import Installation

CALENDAR = calendar_at_noon()
PHONES = ["8005550101", "8005550102", "8005550103"]
GAUGE = "harvester_config_last_reload_successful"


@pytest.fixture
def api() -> SimulatedApi:
    return SimulatedApi([Account(world=World(calendar=CALENDAR))])


def installed(install: Install, api: SimulatedApi, url: str, **settings: Any) -> Installation:
    return prepared(install(api, url, **account_of(CALENDAR, 10, phones=PHONES, **settings)))


def sent(api: SimulatedApi) -> int:
    return sum(api.requests_per_window().values())


def reload(run: Daemon) -> None:
    before = len(run.manager.moments("READY=1"))
    run.running.signal(signal.SIGHUP)
    run.until(lambda: len(run.manager.moments("READY=1")) > before)


def test_a_reload_without_a_change_costs_no_request(api: SimulatedApi, sqlite_url: str, install: Install) -> None:
    harvester = installed(install, api, sqlite_url)
    with daemon(harvester) as run:
        run.until_idle()
        before = sent(api)
        for times in range(1, 31):
            reload(run)
            assert len(run.events("reloaded")) == times
        run.until_idle()
        assert sent(api) == before
        assert run.metric(GAUGE) == 1

        harvester.configure("daemon", settle_days=5)
        reload(run)
        run.until_idle()
        assert sent(api) > before


def test_a_changed_password_restarts_its_account(api: SimulatedApi, sqlite_url: str, install: Install) -> None:
    harvester = installed(install, api, sqlite_url, password=None, password_file="password")
    password = harvester.home / "password"
    password.write_text("wrong")
    password.chmod(0o600)
    with daemon(harvester) as run:
        run.until_state("paused")
        reload(run)  # the account is tried again
        run.until(lambda: len(run.events("claimed")) == 2)
        run.until_state("paused")
        password.write_text("demo")
        reload(run)
        run.until_idle()
        claims = len(run.events("claimed"))
        reload(run)
        password.write_text("other")
        assert len(run.events("claimed")) == claims
        reload(run)
        run.until(lambda: len(run.events("claimed")) == claims + 1)


def test_whatever_fails_in_a_reload_is_reported_to_systemd(
    api: SimulatedApi, sqlite_url: str, install: Install
) -> None:
    harvester = installed(install, api, sqlite_url)
    with daemon(harvester) as run:
        run.until_idle()
        config = harvester.home / "config.toml"
        good = config.read_text()
        config.unlink()
        config.mkdir()
        reload(run)
        assert run.metric(GAUGE) == 0
        assert len(run.events("reload_failed")) == 1
        config.rmdir()
        config.write_text(good)
        config.chmod(0o600)
        reload(run)
        assert run.metric(GAUGE) == 1
        assert run.states() == {"main": "idle"}
