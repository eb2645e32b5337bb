"""SIGTERM and SIGINT finish requests in flight, a second one does not wait, SIGHUP reloads all or nothing."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.faults import Faults
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.daemon import (
    Daemon,
    account_of,
    assert_complete,
    calendar_at_noon,
    daemon,
    past_of,
    prepared,
)
from tests.support.databases import query
from tests.support.simulation import refused_per_window
from tests.support.truth import Wanted

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install
    from tests.support.process import Installation

CALENDAR = calendar_at_noon()
WORLD = World(calendar=CALENDAR)
PHONES = tuple(f"80055501{number:02}" for number in range(20))
FEW = PHONES[:3]
DAYS = 60
CONCURRENCY = 8  # the default
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def served(**options: Any) -> SimulatedApi:
    others = [Account(name=name, login=f"{name}@example.com", world=WORLD) for name in ("second", "third")]
    return SimulatedApi([Account(world=WORLD), *others], Options(**options))


def sent(api: SimulatedApi, account: str = "main") -> int:
    return sum(api.requests_per_window(account).values())


def account(phones: tuple[str, ...] = PHONES, **settings: Any) -> dict[str, Any]:
    return account_of(CALENDAR, DAYS, phones=list(phones), **settings)


def wanted(phones: tuple[str, ...] = PHONES, name: str = "main") -> Wanted:
    return Wanted(*past_of(CALENDAR, DAYS), (Period.DAY,), phones, account=name, world=WORLD)


def slices(url: str) -> int:
    """The number of series with stored values."""
    return int(query(url, "SELECT count(DISTINCT phone) FROM metric_values")[0][0])


# Stopping


@pytest.mark.parametrize("number", SIGNALS)
def test_requests_in_flight_are_finished_and_stored(number: signal.Signals, sqlite_url: str, install: Install) -> None:
    api = served(latency=0.8)
    with daemon(prepared(install(api, sqlite_url, **account()))) as run:
        run.until(lambda: api.visits.total() > CONCURRENCY)  # one was /auth
        began = time.monotonic()
        run.running.signal(number)
        ended = run.running.ended(within=10.0)
    assert ended.code == 0
    assert time.monotonic() - began < 4.0
    assert slices(sqlite_url) == sent(api) >= CONCURRENCY
    assert len(run.manager.moments("STOPPING=1")) == 1
    assert "Traceback" not in ended.err


def test_requests_in_flight_are_abandoned_after_ten_seconds(sqlite_url: str, install: Install) -> None:
    api = served(faults=Faults(slow=1.0, slow_seconds=30.0))
    harvester = prepared(install(api, sqlite_url, **account()))
    with daemon(harvester) as run:
        run.until(lambda: sent(api) >= 1)
        began = time.monotonic()
        run.running.signal(signal.SIGTERM)
        run.until(lambda: bool(run.manager.moments("STOPPING=1")))
        assert run.ask("/healthz")[0] == 200  # the endpoints still answer
        assert run.running.ended(within=13.0).code == 0
    assert time.monotonic() - began > 9.0  # it waited for an answer


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_is_obeyed_at_once(number: signal.Signals, sqlite_url: str, install: Install) -> None:
    api = served(faults=Faults(slow=1.0, slow_seconds=30.0))
    harvester = prepared(install(api, sqlite_url, **account()))
    with daemon(harvester) as run:
        run.until(lambda: sent(api) >= 1)
        run.running.signal(number)
        run.until(lambda: bool(run.manager.moments("STOPPING=1")))
        began = time.monotonic()
        run.running.signal(signal.SIGTERM)
        run.running.ended(within=3.0)
        assert time.monotonic() - began < 1.0
    api.options = Options()
    with daemon(harvester) as run:
        run.until_idle()
    assert_complete(sqlite_url, wanted())


def test_a_daemon_that_waits_for_the_quota_ends_at_once(sqlite_url: str, install: Install) -> None:
    api = served(limit=4)
    with daemon(prepared(install(api, sqlite_url, **account()))) as run:
        run.until(lambda: sent(api) == 4)
        run.until(lambda: slices(sqlite_url) == 4)
        run.running.signal(signal.SIGTERM)
        assert run.running.ended(within=3.0).code == 0


def test_a_daemon_that_waits_for_the_api_ends_at_once(sqlite_url: str, install: Install) -> None:
    api = served(faults=Faults(drop=1.0))
    with daemon(prepared(install(api, sqlite_url, **account()))) as run:
        run.until(lambda: run.metric("harvester_account_up", account="main") == 0)
        run.running.signal(signal.SIGTERM)
        assert run.running.ended(within=3.0).code == 0


# Reloading


def reload(run: Daemon) -> None:
    before = len(run.manager.moments("READY=1"))
    run.running.signal(signal.SIGHUP)
    run.until(lambda: len(run.manager.moments("READY=1")) > before)


def several(harvester: Installation, **accounts: dict[str, Any]) -> None:
    """Write each account into its own file."""
    directory = harvester.home / "accounts.d"
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    for name, settings in accounts.items():
        keys = {"tool": "fuseplus", "login": f"{name}@example.com", "password": "demo", **settings}
        lines = [f"{key} = {str(value) if isinstance(value, list) else repr(value)}" for key, value in keys.items()]
        path = directory / f"{name}.toml"
        path.write_text("\n".join(lines))
        path.chmod(0o600)


BROKEN = {
    "refresh": "[daemon]\nrefresh = 'whenever'\n",
    "config.toml": "[accounts.main\n",
    "password_file": "[accounts.main]\nlogin = 'me'\nphones = ['ALL']\nstart = 2024-01-01\npassword_file = 'gone'\n",
    "start": "[accounts.main]\nlogin = 'me'\npassword = 'demo'\nphones = ['ALL']\n",
    "account": "",
}


def test_an_invalid_configuration_leaves_the_old_one_in_use(sqlite_url: str, install: Install) -> None:
    api = served(limit=15, window=2)
    harvester = prepared(install(api, sqlite_url, **account()))
    config = harvester.home / "config.toml"
    good = config.read_text()
    with daemon(harvester) as run:
        run.until(lambda: sent(api) >= 1)
        for what, broken in BROKEN.items():
            config.write_text(broken)
            reload(run)
            assert run.metric("harvester_config_last_reload_successful") == 0
            assert run.states().keys() == {"main"}
            logged = run.events("reload_failed")[-1]
            assert logged["level"] == "error"
            assert what in logged["error"]
        assert len(run.events("reload_failed")) == len(BROKEN)
        run.until_idle()
        assert sent(api) == len(PHONES)  # no account was restarted
        assert_complete(sqlite_url, wanted())

        config.write_text(good)
        reload(run)
        assert run.metric("harvester_config_last_reload_successful") == 1
        assert len(run.events("reloaded")) == 1
        run.until_idle()


def test_a_reload_logs_which_keys_need_a_restart(sqlite_url: str, install: Install) -> None:
    harvester = prepared(install(served(), sqlite_url, **account(FEW)))
    with daemon(harvester) as run:
        address = run.address
        harvester.configure("database", url=f"{sqlite_url}.other")
        harvester.configure("daemon", listen="127.0.0.1:1", allowed_hosts=["proxy.example.com"])
        harvester.configure("log", level="error")
        keys = "database.url, daemon.listen, daemon.allowed_hosts, log.level"
        for times in (1, 2):  # each reload until the restart logs them
            reload(run)
            assert [event["keys"] for event in run.events("restart_needed")] == [keys] * times
        harvester.configure("daemon", allowed_hosts=[])
        reload(run)
        assert run.events("restart_needed")[-1]["keys"] == keys.replace(", daemon.allowed_hosts", "")
        assert run.address == address
        run.until_idle()
        assert len(run.events("reloaded")) == 3
    assert_complete(sqlite_url, wanted(FEW))
    assert not (harvester.home / "store.db.other").exists()


def test_a_reload_adds_changes_and_removes_accounts(postgres_url: str, install: Install) -> None:
    api = served()
    harvester = prepared(install(api, postgres_url, **account(FEW[:2])))
    several(harvester, second=account(FEW[:1]))
    with daemon(harvester) as run:
        run.until_idle()
        assert run.states().keys() == {"main", "second"}
        main, other = sent(api, "main"), sent(api, "second")

        several(harvester, second=account(FEW), third=account(FEW[:1]))
        reload(run)
        run.until_idle()
        assert run.states().keys() == {"main", "second", "third"}
        assert_complete(postgres_url, wanted(FEW[:2]), wanted(FEW, "second"), wanted(FEW[:1], "third"))
        # One request for each new series, and one for the provisional days of each old one.
        assert sent(api, "main") - main == 2
        assert sent(api, "second") - other == 3
        assert sent(api, "third") == 1
        assert run.metric("harvester_account_up", account="third") == 1

        several(harvester)
        reload(run)
        run.until_idle()
        assert run.states().keys() == {"main"}
        assert run.metric("harvester_account_up", account="second") is None
        assert sent(api, "third") == 1
        # Stored values stay, and another process may claim the account.
        assert_complete(postgres_url, wanted(FEW[:2]), wanted(FEW, "second"), wanted(FEW[:1], "third"))
        assert not run.events("bug")


def test_a_reload_in_the_middle_loses_nothing(sqlite_url: str, install: Install) -> None:
    api = served(limit=25, window=2, latency=0.2)
    harvester = prepared(install(api, sqlite_url, **account()))
    with daemon(harvester) as run:
        for enough in (2, 8, 14):
            run.until(lambda enough=enough: sent(api) >= enough)  # type: ignore[misc]
            reload(run)
        run.until_idle()
        assert len(run.events("reloaded")) == 3
    assert_complete(sqlite_url, wanted())
    assert max(api.requests_per_window().values()) <= 25
    assert not any(refused_per_window(api).values())
    # Requests in flight were finished; only provisional days are requested once more.
    assert max(api.visits[path] for path in api.visits if path.startswith("/performance")) <= 4


def test_a_reload_while_stopping_changes_nothing(sqlite_url: str, install: Install) -> None:
    api = served(latency=1.0)
    with daemon(prepared(install(api, sqlite_url, **account()))) as run:
        run.until(lambda: api.visits.total() > CONCURRENCY)
        run.running.signal(signal.SIGHUP)
        run.running.signal(signal.SIGTERM)
        run.running.signal(signal.SIGHUP)
        ended = run.running.ended(within=10.0)
    assert ended.code == 0
    assert "Traceback" not in ended.err
    assert "bug" not in ended.err
