"""Results go to stdout, everything else to stderr, without escape codes off a terminal; a password goes nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harvester.simulator.api import SimulatedApi
from harvester.simulator.faults import Faults
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.acceptance.conftest import Install
from tests.support.databases import query
from tests.support.process import CHECKOUT, Ended, Installation

CANARY = "c4n4ry-p4ssw0rd"
PHONES = ["8005550100", "8005550101", "8005550102"]
RANGE = ("--start", "2024-01-01", "--end", "2024-12-31")


def dump(url: str) -> str:
    """Every table and view as text."""
    if url.startswith("sqlite:"):
        names = query(url, "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
    else:
        names = query(url, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    assert names
    return "\n".join(str(row) for (name,) in names for row in query(url, f'SELECT * FROM "{name}"'))  # noqa: S608


def test_off_a_terminal_there_are_lines_and_no_escape_codes(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([Account()], Options(limit=2, window=2))
    ended = install(api, sqlite_url, phones=PHONES).run("backfill", *RANGE, "-v", TERM="xterm-256color")

    assert ended.code == 0
    assert "\x1b" not in ended.out + ended.err
    assert "\r" not in ended.out + ended.err
    assert ended.err


def test_stdout_holds_only_the_object(sqlite_url: str, install: Install) -> None:
    api = SimulatedApi([Account()], Options(faults=Faults(server_error=0.3)))
    ended = install(api, sqlite_url, phones=PHONES).run("backfill", *RANGE, "--json", "-vv")

    assert ended.out.count("\n") == 1
    assert isinstance(json.loads(ended.out), dict)
    assert ended.result["error"] is None
    assert set(ended.result) >= {
        "requests", "rate_limited", "retries", "slices", "rows", "elapsed_seconds", "failed", "accounts", "error",
    }  # fmt: skip


def test_a_usage_error_prints_a_line_and_no_object(sqlite_url: str, install: Install) -> None:
    harvester = install(SimulatedApi([Account()]), sqlite_url, phones=PHONES)
    for wrong in (
        ("--start", "2024-02-30"),
        ("--start", "2024-02-03", "--end", "2024-02-01"),
        ("--start", "2024-01-01", "--phone", "8005550109"),
    ):
        ended = harvester.run("backfill", *wrong, "--json")
        assert ended.code == 2, wrong
        assert "Traceback" not in ended.err
        assert ended.err
        assert not ended.out


def assert_no_password(harvester: Installation, *ended: Ended) -> None:
    for one in ended:
        assert CANARY not in one.out
        assert CANARY not in one.err
    files = [path for path in harvester.home.rglob("*") if path.is_file() and path.name != "config.toml"]
    assert files
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("direct", [False, True], ids=["tool", "direct"])
def test_an_accepted_password_is_printed_nowhere(store_url: str, install: Install, *, direct: bool) -> None:
    world = World(phones=tuple(PHONES[1:]))
    faults = Faults(server_error=0.1, html=0.1, cut=0.1, junk=0.1)
    api = SimulatedApi(
        [Account(password=CANARY, direct=direct, world=world)],
        Options(faults=faults, auth_faults=Faults(server_error=0.3)),
    )
    harvester = install(api, store_url, phones=PHONES, password=CANARY, tool=None if direct else "fuseplus")
    ended = harvester.run("backfill", *RANGE, "-vv", "--json")

    assert ended.code == 3  # one number belongs to another account
    assert_no_password(harvester, ended)
    assert CANARY not in dump(store_url)


@pytest.mark.parametrize("direct", [False, True], ids=["tool", "direct"])
def test_a_refused_password_is_printed_nowhere(sqlite_url: str, install: Install, *, direct: bool) -> None:
    api = SimulatedApi([Account(password="another", direct=direct)], Options())
    harvester = install(api, sqlite_url, phones=PHONES, password=CANARY, tool=None if direct else "fuseplus")
    ended = harvester.run("backfill", *RANGE, "-vv", "--json")

    assert ended.code == 77
    assert_no_password(harvester, ended)
    assert CANARY not in dump(sqlite_url)


def test_no_traceback_holds_the_password(sqlite_url: str, install: Install, tmp_path: Path) -> None:
    # An unexpected error while a local variable holds the password.
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import harvester.source.http as http\n"
        "def fail(self, *args, **kwargs):\n"
        "    secret = self._credentials.__dict__\n"
        "    raise RuntimeError('unexpected state')\n"
        "http.HttpSource.fetch = fail\n"
    )
    api = SimulatedApi([Account(password=CANARY)], Options())
    harvester = install(api, sqlite_url, phones=PHONES, password=CANARY)
    ended = harvester.run("backfill", *RANGE, "-vv", "--json", PYTHONPATH=f"{broken}:{CHECKOUT}")

    assert ended.code == 1
    assert ended.result["error"]["code"] == "bug"
    assert "unexpected state" in ended.err
    assert_no_password(harvester, ended)
