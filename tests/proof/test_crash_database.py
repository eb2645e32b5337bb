"""A database that fails during a backfill: stopped in the middle of a commit, full, read-only, damaged.

The promise is the same each time: one line of text, exit code 74 or a wait, nothing stored by half, nothing stored
before lost or overwritten, and the same command continues.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path

import pytest

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from harvester.store.migrate import migrate
from tests.support.databases import query
from tests.support.postgres import Cluster, running_cluster
from tests.support.process import Ended, Installation, configuration
from tests.support.simulation import serving_in_thread
from tests.support.small_disk import small_disk
from tests.support.truth import Wanted, assert_harvested, stored_rows

WORLD = World()
PHONES = tuple(f"80055501{number:02}" for number in range(12))
BACKFILL = ("backfill", "--start", "2024-01-01", "--end", "2024-12-31", "--json")
WANTED = Wanted(date(2024, 1, 1), date(2024, 12, 31), (Period.DAY,), PHONES, world=WORLD)
SLICES = len(PHONES) * 2
CONCURRENCY = 2
COVERAGE_ROW = 3  # its transaction is stopped in the middle

# A trigger that runs at the COMMIT of a transaction with answers, and acts at the third row of coverage. The count is
# a sequence: a rollback does not reset it, and after a crash it continues at a higher number.
CATCH = f"""
CREATE SEQUENCE caught;
CREATE FUNCTION catch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF nextval('caught') = {COVERAGE_ROW} THEN %s; END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER catch AFTER INSERT ON coverage DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION catch();"""
OUTCOMES = {
    # The server is stopped before it has written the commit.
    "lost": ("PERFORM pg_sleep(600)", "PgSleep"),
    # It has written it, and waits for a standby that never answers: after a restart the transaction is there.
    "stored": ("PERFORM set_config('synchronous_commit', 'on', true)", "SyncRep"),
}


@contextmanager
def installed(home: Path, database: str) -> Iterator[tuple[SimulatedApi, Installation]]:
    api = SimulatedApi([Account(world=WORLD)], Options(latency=0.005))
    with serving_in_thread(api) as url:
        tables = configuration(
            url, database, phones=list(PHONES), api={"max_days_per_request": 184, "concurrency": CONCURRENCY}
        )
        yield api, Installation(home, tables)


def sent(api: SimulatedApi) -> int:
    return sum(api.requests_per_window().values())


def slices_stored(url: str) -> int:
    """Return how many slices are stored, each half a year of a phone."""
    ((days,),) = query(url, "SELECT coalesce(sum(last_day - first_day + 1), 0) FROM coverage")
    return round(float(days) / 183)


def assert_database_error(ended: Ended, words: str) -> None:
    assert ended.code == 74, ended.err
    assert ended.result["error"]["code"] == "database"
    assert words in ended.result["error"]["message"]
    assert "Traceback" not in ended.err
    assert len([line for line in ended.err.splitlines() if line.startswith("harvester: ")]) in (1, 2)


# PostgreSQL, stopped during a commit


@pytest.fixture(scope="module")
def durable_cluster() -> Iterator[Cluster]:
    """A durable cluster; a transaction with synchronous_commit = on waits for a standby that does not exist."""
    with running_cluster() as cluster:
        for setting in ("synchronous_commit = 'local'", "synchronous_standby_names = 'nobody'"):
            cluster.execute(f"ALTER SYSTEM SET {setting}")
        cluster.execute("SELECT pg_reload_conf()")
        yield cluster


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_postgresql_stopped_in_the_middle_of_a_commit(outcome: str, durable_cluster: Cluster, tmp_path: Path) -> None:
    action, wait = OUTCOMES[outcome]
    asleep = f"SELECT query FROM pg_stat_activity WHERE wait_event = '{wait}'"  # noqa: S608 - a constant
    with durable_cluster.database() as url, installed(tmp_path, url) as (api, harvester):
        migrate(url)
        query(url, CATCH % action)
        with harvester.started(*BACKFILL) as running:
            running.until(lambda: bool(query(url, asleep)))
            assert query(url, asleep) == [("COMMIT",)]
            time.sleep(0.5)  # until the capacity is used up: nothing more is sent while the transaction hangs
            before, stored = sent(api), slices_stored(url)
            durable_cluster.stop("immediate")
            durable_cluster.start()
            ended = running.ended()
        assert ended.code == 0, ended.err
        assert "database_lost" in ended.err
        assert before < SLICES
        assert sent(api) <= SLICES + 2 * CONCURRENCY
        assert_harvested(url, WANTED)
        again = sent(api) - SLICES  # of what was sent and not stored when the server stopped
        assert (
            again == before - stored if outcome == "lost" else again < before - stored
        )  # stored slices are not requested again


# A full disk


def test_a_full_disk_ends_with_74_and_the_same_command_continues(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "900k") as disk:
        url = f"sqlite:///{disk}/store.db"
        with installed(tmp_path, url) as (api, harvester):
            assert_database_error(harvester.run(*BACKFILL), "the disk is full")
            stored = stored_rows(url)
            assert stored
            assert not stored - WANTED.rows()
            before = sent(api)
            assert before < SLICES
            assert_database_error(harvester.run(*BACKFILL), "the disk is full")
            assert sent(api) - before <= 2 * CONCURRENCY  # it did not use up a window without storing anything
            assert stored_rows(url) >= stored
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            assert harvester.run(*BACKFILL).code == 0
            assert_harvested(url, WANTED)


def test_postgresql_with_a_full_disk_ends_with_74_and_the_same_command_continues(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "400k") as disk, running_cluster() as cluster:
        place = disk / "tables"
        place.mkdir()
        shutil.chown(place, "postgres", "postgres")
        for path in (tmp_path, *tmp_path.parents[:-2]):
            path.chmod(path.stat().st_mode | 0o111)  # the server must be able to enter pytest's directories
        cluster.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        with cluster.database() as url, installed(tmp_path, url) as (_, harvester):
            migrate(url)
            query(url, "ALTER TABLE value SET TABLESPACE small")
            assert_database_error(harvester.run(*BACKFILL), "is out of disk space")
            stored = stored_rows(url)
            assert not stored - WANTED.rows()
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            assert harvester.run(*BACKFILL).code == 0
            assert_harvested(url, WANTED)
            query(url, "ALTER TABLE value SET TABLESPACE pg_default")


# A read-only database


def test_a_file_system_that_became_read_only_ends_with_74_and_stays_readable(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64m") as disk:
        url = f"sqlite:///{disk}/store.db"
        with installed(tmp_path, url) as (api, harvester):
            assert harvester.run(*BACKFILL[:-3], "--end", "2024-06-30", "--json").code == 0
            stored, before = stored_rows(url), sent(api)
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            assert_database_error(harvester.run(*BACKFILL), "read-only")
            assert sent(api) == before
            assert harvester.run("status", "--json").code == 0
            assert harvester.run("plan", *BACKFILL[1:]).result["already_covered_slices"] > 0
            exported = harvester.run("export", "performance").out
            assert exported.count("\n") == len(stored) / 6 + 1
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            assert harvester.run(*BACKFILL).code == 0
            assert_harvested(url, WANTED)


def test_a_read_only_postgresql_ends_with_74(postgres_url: str, tmp_path: Path) -> None:
    migrate(postgres_url)
    (name,) = query(postgres_url, "SELECT current_database()")[0]
    query(postgres_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with installed(tmp_path, postgres_url) as (api, harvester):
        assert_database_error(harvester.run(*BACKFILL), "is read-only")
        assert api.total == 0


# A damaged file


@pytest.mark.parametrize("damage", ["cut", "torn"])
def test_a_damaged_file_ends_with_74_and_is_not_changed(damage: str, tmp_path: Path) -> None:
    """Cut in half, or all pages but the first ones random: nothing is overwritten or created."""
    path = tmp_path / "store.db"
    with installed(tmp_path, f"sqlite:///{path}") as (api, harvester):
        assert harvester.run(*BACKFILL).code == 0
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        whole = path.read_bytes()
        page = int.from_bytes(whole[16:18], "big")
        if damage == "cut":
            path.write_bytes(whole[: len(whole) // 2 // page * page])
        else:
            path.write_bytes(whole[: 2 * page] + os.urandom(len(whole) - 2 * page))
        damaged, before = path.read_bytes(), sent(api)
        for command in ((*BACKFILL, "--refetch"), BACKFILL):
            assert_database_error(harvester.run(*command), "is damaged")
        assert harvester.run("status").code == 74
        assert sent(api) - before <= 4 * CONCURRENCY
        assert path.read_bytes() == damaged
