"""The demonstration in three runs: interrupted early, run again to its end, and once more.

Its quota windows take real time, so the three runs are shared by all tests here.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from harvester.core.period import WeekStart
from harvester.demo.ownership import refuse_foreign
from harvester.demo.setting import LIMIT, PHONES
from harvester.errors import StoreError, UsageError
from harvester.store.claims import Database
from harvester.store.types import AccountIdentity
from tests.support.process import Ended, Installation

DB = "shown here.db"
SERIES = 4 * (1 + len(PHONES))
SLICES = 2 * SERIES
IN_FLIGHT = 2 * 8
VALUES = 365 * (1 + len(PHONES)) * (6 + 4 + 6 + 2)


class Runs(NamedTuple):
    home: Path
    interrupted: Ended
    finished: Ended
    again: Ended


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    home = tmp_path_factory.mktemp("demo")
    here = Installation(home, {})
    (home / "config.toml").write_text("this is no configuration")  # never read
    with here.started("demo", "--db", DB) as running:
        running.until(lambda: values(home / DB) > 0)
        running.signal(signal.SIGINT)
        interrupted = running.ended()
    finished = here.run("demo", "--db", DB, HARVESTER_CONFIG="/nowhere", HARVESTER_DATABASE__URL="nonsense")
    return Runs(home, interrupted, finished, here.run("demo", "--db", DB))


def values(database: Path) -> int:
    """The number of values; 0 where there is no such file or view yet."""
    if not database.exists():
        return 0
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM metric_values").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def figure(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, text
    return int(found[1].replace(",", ""))


def test_ctrl_c_keeps_stored_values_and_says_how_to_continue(runs: Runs) -> None:
    ended = runs.interrupted
    assert ended.code == 130
    assert "Run the same command again to continue" in ended.err
    assert "Traceback" not in ended.err
    assert not ended.out
    assert 0 < figure(r"([\d,]+) of 248 slices done", ended.err) < SLICES


def test_the_second_run_requests_only_what_is_missing(runs: Runs) -> None:
    assert runs.finished.code == 0, runs.finished.err
    before = figure(r"slices done by ([\d,]+) requests?", runs.interrupted.err)
    after = figure(r"slices done by ([\d,]+) requests?", runs.finished.out)
    assert SLICES <= before + after <= SLICES + IN_FLIGHT
    assert figure(r"([\d,]+) slices? already covered", runs.finished.out) > 0


def test_it_stores_many_values_and_waits_for_several_windows(runs: Runs) -> None:
    assert values(runs.home / DB) == VALUES >= 50_000
    assert figure(r"in (\d+) quota windows", runs.finished.out) >= 4  # so it waited for three of them
    assert figure(rf"at most (\d+) of {LIMIT} in one", runs.finished.out) <= LIMIT


def test_progress_is_printed_as_lines_on_stderr(runs: Runs) -> None:
    lines = [text for text in runs.finished.err.splitlines() if " slices; " in text]
    assert 2 <= len(lines) <= 13
    assert all("quota " in text for text in lines)
    assert "\x1b" not in runs.finished.err + runs.finished.out


def test_a_third_run_prints_the_same_and_requests_nothing(runs: Runs) -> None:
    assert runs.again.code == 0, runs.again.err
    assert f"Nothing to request: {SLICES} slices already covered." in runs.again.out
    assert "The server counted" not in runs.again.out
    assert picture(runs.again.out) == picture(runs.finished.out)


def picture(text: str) -> str:
    return text[text.index("Phone ") :]


def test_there_is_a_row_for_each_number_and_a_chart(runs: Runs) -> None:
    text = picture(runs.finished.out)
    with closing(sqlite3.connect(runs.home / DB)) as connection:
        question = "SELECT phone, phone_name, cast(sum(calls) AS int) FROM performance_day GROUP BY phone"
        for phone, name, calls in connection.execute(question):
            assert re.search(rf"^{phone} +{name} +{calls:,} ", text, re.MULTILINE)
        total = connection.execute("SELECT cast(sum(calls) AS int) FROM performance_day").fetchone()[0]
    assert re.search(rf"^Sum +{total:,} ", text, re.MULTILINE)
    assert len(re.findall(r"━{7}", text)) >= 7


def test_what_it_suggests_works_as_printed(runs: Runs) -> None:
    suggested = [text.strip() for text in picture(runs.finished.out).partition("Try next:")[2].splitlines() if text]
    assert len(suggested) in {2, 3}
    for command in suggested:
        ended = subprocess.run(command, shell=True, cwd=runs.home, capture_output=True, text=True, check=False)  # noqa: S602 - as a user pastes it
        assert ended.returncode == 0, (command, ended.stderr)
        assert ended.stdout.strip(), command
        assert DB in shlex.split(command)


# Foreign files


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_of_another_program_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE precious (id)")
    before = digest(path)
    with pytest.raises(UsageError, match="--db"):
        refuse_foreign(path)
    assert digest(path) == before


def test_a_file_that_is_no_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 100)
    before = digest(path)
    with pytest.raises(StoreError):
        refuse_foreign(path)
    assert digest(path) == before


@pytest.mark.parametrize(
    ("name", "base_url"),
    [("main", "http://127.0.0.1:8151/api"), ("demo", "https://voicetrends.plumvoice.com/api")],
)
async def test_a_real_database_is_refused(tmp_path: Path, name: str, base_url: str) -> None:
    path = tmp_path / "real.db"
    database = Database(f"sqlite:///{path}")
    await database.claim(AccountIdentity(name, base_url, "America/New_York", WeekStart.SUNDAY, 3))
    await database.close()
    with pytest.raises(UsageError, match=f"contains the real account {name}"):
        refuse_foreign(path)


def test_another_kind_of_database_is_a_usage_error(tmp_path: Path) -> None:
    ended = Installation(tmp_path, {}).run("demo", "--db", "postgresql://localhost/demo")
    assert ended.code == 2
    assert "SQLite" in ended.err
