"""`status` and `export` as processes over real databases, filled through the store."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harvester.core.model import FailedSlice, QuotaRecord, Slice
from harvester.core.period import Period
from harvester.store.migrate import migrate
from harvester.store.schema import HEAD
from harvester.store.types import RecordedState
from tests.support.answers import CALENDAR, answer, identity, series
from tests.support.databases import claimed, opened
from tests.support.process import Ended, Installation

if TYPE_CHECKING:
    from tests.support.postgres import Cluster

DESK, OTHER, MERGED = series(), series("8005550000"), series("ALL")
# Today is covered too, so that a test that runs over midnight finds its yesterday covered all the same.
TODAY = CALENDAR.local_date(time.time())
START = TODAY - timedelta(30)
PHONES = (("8005551234", "=HYPERLINK(evil)"), ("8005550000", "Söderström, east"), ("ALL", None))


@pytest.fixture
def home(tmp_path: Path) -> Installation:
    """A home whose configuration cannot be used."""
    return Installation(tmp_path, {"nonsense": {"key": 1}})


async def fill(url: str, *, until: date = TODAY, failures: Sequence[FailedSlice] = ()) -> None:
    """Three series of days and one of weeks, from START on."""
    days = (until - START).days + 1
    sunday = CALENDAR.floor(Period.WEEK, START)
    now = int(time.time())
    async with claimed(url, identity(start=START, phones=PHONES)) as store:
        await store.commit(
            [
                answer(START, {"calls": [float(n) for n in range(days)], "average_page_load": [0.5]}, sent_at=now),
                answer(START, {"calls": [1.0] * days}, of=OTHER, sent_at=now),
                answer(START, {"calls": [2.0] * days}, of=MERGED, sent_at=now),
                answer(sunday, {"calls": [7.0]}, days=7, of=series(period=Period.WEEK), sent_at=now),
            ],
            failures,
        )
        await store.save(QuotaRecord(150, 150, 0, now + 900, 0.0, now))


def configuration(url: str, **account: Any) -> dict[str, dict[str, Any]]:
    main = {"login": "me@example.com", "phones": ["8005551234"], "start": START.isoformat()}
    return {"database": {"url": url}, "accounts.main": {**main, **account}}


def refused(ended: Ended, code: int, words: str) -> None:
    """It left with the code and a plain line."""
    assert ended.code == code, ended
    assert words in ended.err
    assert len(ended.err.splitlines()) <= 2
    assert "Traceback" not in ended.err


# status


async def test_status_of_a_whole_database(home: Installation, store_url: str) -> None:
    await fill(store_url)
    ended = home.run("status", "--db", store_url, "--json", "--exit-code")
    result = ended.result
    assert (ended.err, result["schema_version"], result["error"]) == ("", HEAD, None)
    (account,) = result["accounts"]
    assert account["state"] == "waiting"
    assert account["reason"].startswith("the quota is spent until ")
    assert (account["quota"]["limit"], account["quota"]["remaining"]) == (150, 0)
    by_series = {(one["phone"], one["period"]): one for one in account["series"]}
    assert by_series.keys() == {("8005551234", "day"), ("8005550000", "day"), ("ALL", "day"), ("8005551234", "week")}
    one = by_series["8005551234", "day"]
    assert (one["first"], one["last"], one["gaps"], one["failed_slices"]) == (str(START), str(TODAY), [], 0)
    assert one["final_through"] == str(TODAY - timedelta(4))
    assert by_series["8005551234", "week"]["gaps"]  # one week is stored, more have ended
    assert ended.code == 3


async def test_the_exit_code_tells_what_needs_attention(home: Installation, sqlite_url: str) -> None:
    await fill(sqlite_url)
    days = ("status", "--db", sqlite_url, "--period", "day")
    assert home.run(*days, "--exit-code").code == 0
    async with claimed(sqlite_url, identity(start=START)) as store:
        await store.commit([], [FailedSlice(Slice(OTHER, START, START), "unavailable", "500 again and again")])
    ended = home.run(*days, "--exit-code")
    assert ended.code == 3
    assert f"main performance 8005550000 day: failed {START}..{START}: 500 again and again" in ended.out.splitlines()
    assert home.run(*days).code == 0
    assert home.run(*days, "--phone", "8005551234", "--exit-code").code == 0
    async with claimed(sqlite_url, identity(start=START)) as store:
        await store.set_state(RecordedState.PAUSED, "The API refuses the credentials.")
    ended = home.run(*days, "--phone", "8005551234", "--exit-code")
    assert ended.code == 3
    assert "main: paused: The API refuses the credentials." in ended.out.splitlines()


async def test_a_missing_day_is_reported(home: Installation, sqlite_url: str) -> None:
    await fill(sqlite_url, until=TODAY - timedelta(9))
    ended = home.run("status", "--db", sqlite_url, "--json", "--exit-code", "--phone", "ALL")
    assert ended.code == 3
    ((gap,),) = [one["gaps"] for one in ended.result["accounts"][0]["series"]]
    assert gap[0] == str(TODAY - timedelta(8))


async def test_status_covers_what_is_configured(home: Installation, sqlite_url: str) -> None:
    await fill(sqlite_url)
    home = Installation(home.home, configuration(sqlite_url, phones=["8005551234", "8005559999"]))
    ended = home.run("status", "--json", "--exit-code")
    (account,) = ended.result["accounts"]
    stored, never = account["series"]
    assert (stored["phone"], stored["gaps"]) == ("8005551234", [])
    assert (never["phone"], never["first"], never["gaps"][0][0]) == ("8005559999", None, str(START))
    assert ended.code == 3
    assert "3 stored series not in the configuration" in home.run("status").out
    assert home.run("status", "--phone", "8005551234", "--exit-code").code == 0
    refused(home.run("status", "--phone", "8005559998"), 2, "did you mean 8005559999?")
    refused(home.run("status", "--account", "mian"), 2, "did you mean main?")


async def test_a_configuration_without_accounts_still_names_the_database(home: Installation, sqlite_url: str) -> None:
    await fill(sqlite_url)
    home = Installation(home.home, {"database": {"url": sqlite_url}})
    assert len(home.run("status", "--json").result["accounts"][0]["series"]) == 4


async def test_filters_on_stored_series(home: Installation, sqlite_url: str, tmp_path: Path) -> None:
    await fill(sqlite_url)
    file = str(tmp_path / "store.db")  # a plain path will do
    ended = home.run("status", "--db", file, "--phone", "(800) 555-0000", "--json")
    assert [one["phone"] for one in ended.result["accounts"][0]["series"]] == ["8005550000"]
    refused(home.run("status", "--db", file, "--account", "mian", "--json"), 2, "did you mean main?")
    refused(home.run("status", "--db", file, "--resource", "volume"), 2, "is not stored")


def test_a_missing_database_is_reported_and_not_created(home: Installation, tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    before = set(tmp_path.iterdir())
    ended = home.run("status", "--db", str(path), "--json")
    refused(ended, 74, "does not exist yet")
    assert ended.result["error"]["code"] == "database"
    assert ended.result["accounts"] == []
    refused(home.run("export", "performance", "--db", f"sqlite:///{path}"), 74, "does not exist yet")
    home = Installation(home.home, configuration(f"sqlite:///{path}"))
    refused(home.run("status"), 74, "does not exist yet")
    made = {each.name for each in set(tmp_path.iterdir()) - before}
    assert all(name.startswith(("stdout.", "stderr.")) for name in made), made


def test_a_database_that_was_not_migrated_is_reported(home: Installation, postgres_url: str) -> None:
    ended = home.run("status", "--db", postgres_url, "--json")
    refused(ended, 74, "harvester migrate")
    assert ended.result["error"]["code"] == "database"


def test_an_empty_database_is_no_problem(home: Installation, sqlite_url: str) -> None:
    migrate(sqlite_url)
    ended = home.run("status", "--db", sqlite_url, "--exit-code")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "nothing is stored yet")


@pytest.mark.parametrize("name", ["mysql://here/db", "sqlite:///:memory:", "sqlite://x.db", ""])
def test_an_invalid_database_name_is_refused(home: Installation, name: str) -> None:
    refused(home.run("status", "--db", name), 2, "--db: ")


async def test_another_schema_than_public(home: Installation, postgres: Cluster, postgres_url: str) -> None:
    async with opened(postgres_url, schema="calls") as database:
        await database.claim(identity(start=START))
    ended = home.run("status", "--db", postgres_url, "--json", HARVESTER_DATABASE__SCHEMA="calls")
    assert [account["name"] for account in ended.result["accounts"]] == ["main"]
    # A password that PostgreSQL does not ask for, to test that no error message contains it.
    gone = postgres.url("nowhere").replace("postgres@", "postgres:c4nary@")
    ended = home.run("status", "--db", gone, "--json")
    refused(ended, 74, "nowhere")
    assert "c4nary" not in ended.out + ended.err


async def test_colours_are_for_terminals(home: Installation, sqlite_url: str) -> None:
    await fill(sqlite_url, until=TODAY - timedelta(9))
    assert "\x1b" not in home.run("status", "--db", sqlite_url).out
    assert "\x1b[33m" in on_terminal("status", "--db", sqlite_url)
    assert "\x1b" not in on_terminal("status", "--db", sqlite_url, NO_COLOR="1")


def on_terminal(*arguments: str, **environ: str) -> str:
    """The output of a command on a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "harvester", *arguments],
        env={"PATH": os.environ.get("PATH", ""), "TERM": "xterm"} | environ,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    ):
        os.close(theirs)
        printed = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux: the other side was closed
                break
            if not part:
                break
            printed += part
    os.close(ours)
    return printed.decode()


# export


def rows_of(ended: Ended) -> list[dict[str, str]]:
    assert (ended.code, ended.err) == (0, ""), ended
    return list(csv.DictReader(io.StringIO(ended.out, newline="")))


async def test_export_gives_complete_days_of_single_numbers(home: Installation, store_url: str) -> None:
    await fill(store_url)
    rows = rows_of(home.run("export", "performance", "--db", store_url))
    assert [row["phone"] for row in rows] == ["8005550000"] * 30 + ["8005551234"] * 30  # today is not complete
    assert rows[30] == {
        "account": "main",
        "phone": "8005551234",
        "phone_name": "'=HYPERLINK(evil)",
        "period": "day",
        "epoch": str(CALENDAR.midnight(START)),
        "period_start": rows[30]["period_start"],
        "local_date": str(START),
        "calls": "0",
        "js_errors": "",
        "js_errors_per_call": "",
        "fetch_errors": "",
        "fetch_errors_per_call": "",
        "average_page_load": "0.5",
        "complete": "true",
        "final": "true",
        "fetched_at": rows[30]["fetched_at"],
    }
    assert rows[30]["period_start"].startswith(str(START))
    assert rows[0]["phone_name"] == "Söderström, east"


async def test_export_takes_filters_and_days(home: Installation, store_url: str) -> None:
    await fill(store_url)

    def days(*arguments: str) -> list[str]:
        return [row["local_date"] for row in rows_of(home.run("export", "performance", "--db", store_url, *arguments))]

    yesterday = str(TODAY - timedelta(1))
    assert days("--phone", "all", "--start", yesterday) == [yesterday]
    assert days("--phone", "all", "--start", yesterday, "--incomplete") == [yesterday, str(TODAY)]
    assert days("--phone", "ALL", "--end", str(START)) == [str(START)]
    sunday = str(CALENDAR.floor(Period.WEEK, START))
    assert days("--period", "week", "--start", str(START)) == [sunday]  # the week that holds the day
    assert days("--period", "week", "--period", "day", "--phone", "8005551234", "--end", str(START)) == [
        sunday,
        str(START),
    ]


async def test_export_as_json_lines(home: Installation, store_url: str) -> None:
    await fill(store_url)
    ended = home.run("export", "performance", "--db", store_url, "--format", "jsonl", "--end", str(START))
    first, second = map(json.loads, ended.out.splitlines())
    assert (first["phone"], first["calls"], first["complete"], first["js_errors"]) == ("8005550000", 1, True, None)
    assert (second["calls"], second["average_page_load"], second["phone_name"]) == (0, 0.5, "=HYPERLINK(evil)")


async def test_yesterday_is_in_the_zone_of_each_account(home: Installation, sqlite_url: str) -> None:
    # Of these two one has a later date than the other, or the same by chance: Kiritimati is 26 hours ahead.
    zones = {"east": "Pacific/Kiritimati", "west": "Etc/GMT+12"}
    for name, zone in zones.items():
        async with claimed(sqlite_url, identity(name, timezone=zone, start=None)) as store:
            first = TODAY - timedelta(3)
            of = series(account=name)
            await store.commit([answer(first, {"calls": [1.0] * 6}, of=of, sent_at=int(time.time()) + 864000)], [])
    rows = rows_of(home.run("export", "performance", "--db", sqlite_url, "--start", "today", "--end", "today"))
    east, west = (date.fromisoformat(row["local_date"]) for row in rows)
    assert (east - west).days in {1, 2}


async def test_a_file_is_written_whole(home: Installation, sqlite_url: str, tmp_path: Path) -> None:
    await fill(sqlite_url)
    out = tmp_path / "calls.csv"
    ended = home.run("export", "performance", "--db", sqlite_url, "-o", str(out))
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"{out}: 60 rows\n"
    assert len(out.read_text().splitlines()) == 61
    again = home.run("-q", "export", "performance", "--db", sqlite_url, "-o", "-")
    assert (again.out, again.err) == (out.read_text(), "")


async def test_a_file_that_cannot_be_written_is_refused(home: Installation, sqlite_url: str, tmp_path: Path) -> None:
    await fill(sqlite_url)
    database = tmp_path / "store.db"
    export = ("export", "performance", "--db", sqlite_url)
    refused(home.run(*export, "-o", str(tmp_path / "none" / "calls.csv")), 2, "cannot be written: No such file")
    refused(home.run(*export, "-o", str(tmp_path)), 2, "cannot be written: Is a directory")
    refused(home.run(*export, "-o", str(database)), 2, "is the database itself")
    refused(home.run(*export, "-o", "/dev/full"), 2, "cannot be written: No space left")
    assert home.run("status", "--db", sqlite_url).code == 0


async def test_export_refuses_unknown_values(home: Installation, sqlite_url: str) -> None:
    await fill(sqlite_url)
    at = ("--db", sqlite_url)
    refused(home.run("export", "perfromance", *at), 2, "did you mean performance?")
    refused(home.run("export", "performance", *at, "--phone", "8005550001"), 2, "did you mean 8005550000?")
    refused(home.run("export", "performance", *at, "--account", "mian"), 2, "did you mean main?")
    home = Installation(home.home, configuration(sqlite_url, phones=["8005559999"]))
    ended = home.run("export", "performance", "--phone", "8005559999")  # configured, and nothing stored yet
    assert (ended.code, len(ended.out.splitlines()), ended.err) == (0, 1, "0 rows\n")
    assert len(rows_of(home.run("export", "performance", "--phone", "8005550000"))) == 30  # stored, configured no more


async def test_a_reader_that_leaves_early_is_no_error(home: Installation, store_url: str) -> None:
    first = TODAY - timedelta(3000)
    async with claimed(store_url, identity(start=first)) as store:
        await store.commit([answer(first, {"calls": [1.0] * 2900})], [])
    leave_after_one_line(home, "export", "performance", "--db", store_url)


def leave_after_one_line(home: Installation, *arguments: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "harvester", *arguments],
        cwd=home.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"account,phone,")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
