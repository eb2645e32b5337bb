"""An error of one account pauses it with a reason and does not affect the other accounts."""

from __future__ import annotations

import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from harvester.core.period import Calendar, Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.daemon import account_of, assert_complete, calendar_at_noon, daemon, past_of, prepared
from tests.support.truth import Wanted

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install
    from tests.support.process import Installation

CALENDAR = calendar_at_noon()
WORLD = World(calendar=CALENDAR)
PHONES = ("8005550101", "8005550102", "8005550103")
DAYS = 60
GOOD, WRONG, TEMPORARY = "c4n4ry-good", "c4n4ry-wrong", "c4n4ry-temporary"


def auths(api: SimulatedApi, login: str) -> int:
    return sum(window.sent for window in api.auth_quota(login).windows.values())


def two_accounts(api: SimulatedApi, url: str, install: Install, home: Path) -> Installation:
    """Accounts `main` and `other`, each with a password file."""
    for name in ("main", "other"):
        (home / f"{name}.password").write_text(f"{GOOD}\n")
    settings = {
        name: account_of(
            CALENDAR,
            DAYS,
            login=f"{name}@example.com",
            password=None,
            password_file=f"{name}.password",
            phones=list(PHONES),
        )
        for name in ("main", "other")
    }
    return prepared(install(api, url, accounts=settings))


def pairs_of(account: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{TEMPORARY}-{account}-{number}", f"{TEMPORARY}-{number}") for number in range(5))


def served(*, window: int = 900) -> SimulatedApi:
    accounts = [
        Account(name=name, login=f"{name}@example.com", password=GOOD, world=WORLD, pairs=pairs_of(name))
        for name in ("main", "other")
    ]
    return SimulatedApi(accounts, Options(window=window))


def wanted(account: str) -> Wanted:
    return Wanted(*past_of(CALENDAR, DAYS), (Period.DAY,), PHONES, account=account, world=WORLD)


def test_refused_credentials_pause_one_account_until_they_are_corrected(
    postgres_url: str, tmp_path: Path, install: Install
) -> None:
    api = served()
    harvester = two_accounts(api, postgres_url, install, tmp_path)
    (tmp_path / "main.password").write_text(WRONG)
    with daemon(harvester, "-vv") as run:
        run.until_state("paused", "main")
        run.until_state("idle", "other")
        assert run.ask("/readyz")[1].count("\n") == 1
        status, body = run.readiness()
        assert status == 200  # some account can work
        assert list(body["paused"]) == ["main"]
        assert "/auth refuses main@example.com" in body["paused"]["main"]
        assert run.metric("harvester_account_up", account="main") == 0
        assert run.metric("harvester_account_up", account="other") == 1
        assert run.manager.last("STATUS")
        reported = harvester.run("status", "--json", "--exit-code")
        assert reported.code == 3
        (main,) = [account for account in reported.result["accounts"] if account["name"] == "main"]
        assert main["state"] == "paused"
        assert "/auth refuses main@example.com" in main["reason"]
        assert auths(api, "main@example.com") == 1

        (tmp_path / "main.password").write_text(GOOD)
        run.running.signal(signal.SIGHUP)
        corrected = time.monotonic()
        run.until_idle()
        assert time.monotonic() - corrected < 10.0
        assert run.readiness()[1]["paused"] == {}
        assert auths(api, "main@example.com") == 2
        assert_complete(postgres_url, wanted("main"), wanted("other"))
        shown = run.running.err + run.ask("/metrics")[1] + run.ask("/readyz")[1]
        assert not any(secret in shown for secret in (GOOD, WRONG))


def test_refused_credentials_are_tried_once_a_window(sqlite_url: str, tmp_path: Path, install: Install) -> None:
    api = served(window=2)
    harvester = two_accounts(api, sqlite_url, install, tmp_path)
    (tmp_path / "main.password").write_text(WRONG)
    with daemon(harvester) as run:
        run.until(lambda: auths(api, "main@example.com") >= 3)
        tries = [visit.at for visit in api.journal if visit.path == "/auth" and visit.account == "main"]
        assert all(later - earlier >= 1.9 for earlier, later in pairwise(tries))
        assert len(run.events("paused")) == 1  # the same problem is logged once a minute
        (tmp_path / "main.password").write_text(GOOD)  # read at each try, so no reload is needed
        run.until_idle()
    assert_complete(sqlite_url, wanted("main"), wanted("other"))


def test_a_failing_password_command_pauses_one_account(sqlite_url: str, install: Install) -> None:
    """The daemon is not ready, since this is its only account."""
    api = served()
    settings = account_of(CALENDAR, DAYS, login="main@example.com", password=None, password_command=["false"])
    harvester = prepared(install(api, sqlite_url, **settings))
    with daemon(harvester) as run:
        run.until_state("paused")
        status, body = run.readiness()
        assert status == 503
        assert "password_command" in body["paused"]["main"]
        assert run.ask("/healthz")[0] == 200
        assert api.total == 0


def test_a_wrong_zone_pauses_one_account(sqlite_url: str, install: Install) -> None:
    elsewhere = World(calendar=Calendar(ZoneInfo("Asia/Tokyo")))
    api = SimulatedApi(
        [
            Account(name="main", login="main@example.com", world=elsewhere),
            Account(name="other", login="other@example.com", world=WORLD),
        ]
    )
    settings = {
        name: account_of(CALENDAR, DAYS, login=f"{name}@example.com", phones=list(PHONES)) for name in ("main", "other")
    }
    harvester = prepared(install(api, sqlite_url, accounts=settings))
    with daemon(harvester) as run:
        run.until_state("paused", "main")
        run.until_state("idle", "other")
        assert run.readiness()[0] == 200
        assert "timezone" in run.readiness()[1]["paused"]["main"]
        spent = sum(api.requests_per_window("main").values())
        time.sleep(0.5)
        assert sum(api.requests_per_window("main").values()) == spent <= 8
        (main,) = [
            account for account in harvester.run("status", "--json").result["accounts"] if account["name"] == "main"
        ]
        assert main["state"] == "paused"
        assert "timezone" in main["reason"]
    assert_complete(sqlite_url, wanted("other"))


def test_no_secret_is_logged_at_debug_level(sqlite_url: str, tmp_path: Path, install: Install) -> None:
    """Neither when credentials expire, nor at a reload, nor when the password changes meanwhile."""
    api = served(window=2)
    harvester = two_accounts(api, sqlite_url, install, tmp_path)
    harvester.configure("log", level="debug")
    with daemon(harvester, "-vv", PYTHONASYNCIODEBUG="1") as run:
        run.until_idle()
        api.registry.expire()
        (tmp_path / "other.password").write_text(WRONG)
        run.running.signal(signal.SIGHUP)
        run.until_state("idle", "main")
        run.until_state("paused", "other")
        run.running.signal(signal.SIGTERM)
        ended = run.running.ended(within=10.0)
    assert ended.code == 0
    assert auths(api, "main@example.com") == 2  # for both pairs of credentials
    database = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert database
    for secret in (GOOD, WRONG, TEMPORARY):
        assert secret not in ended.err + ended.out
        assert secret.encode() not in database
