"""A database that fails under a backfill: stopped in the middle of a commit, full, read-only, cut off.

What is promised is the same each time: one plain line, exit code 74 or a patient wait, nothing half, nothing that was
stored before lost or overwritten, and the same command goes on from there.
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
COMMIT = 3  # the row of coverage whose transaction is caught in the middle

# A trigger that runs when a transaction with answers commits, and does something at the third row of coverage. A
# sequence counts past what is rolled back, and after a crash it goes on far beyond.
CATCH = f"""
CREATE SEQUENCE caught;
CREATE FUNCTION catch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF nextval('caught') = {COMMIT} THEN %s; END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER catch AFTER INSERT ON coverage DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION catch();"""
FATES = {
    # The server is stopped before it has written the commit down.
    "lost": ("PERFORM pg_sleep(600)", "PgSleep"),
    # It has, and waits for a standby that never answers: stopped there, it comes back with the transaction in it.
    "kept": ("PERFORM set_config('synchronous_commit', 'on', true)", "SyncRep"),
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
    """How many slices are stored by now, each half a year of a phone's."""
    ((days,),) = query(url, "SELECT coalesce(sum(last_day - first_day + 1), 0) FROM coverage")
    return round(float(days) / 183)


def assert_ended_plainly(ended: Ended, words: str) -> None:
    assert ended.code == 74, ended.err
    assert ended.result["error"]["code"] == "database"
    assert words in ended.result["error"]["message"]
    assert "Traceback" not in ended.err
    assert len([line for line in ended.err.splitlines() if line.startswith("harvester: ")]) in (1, 2)


# PostgreSQL, stopped while it commits


@pytest.fixture(scope="module")
def mortal() -> Iterator[Cluster]:
    """A cluster that keeps its word, and asks a standby that is not there where a transaction wants it asked."""
    with running_cluster() as cluster:
        for setting in ("synchronous_commit = 'local'", "synchronous_standby_names = 'nobody'"):
            cluster.execute(f"ALTER SYSTEM SET {setting}")
        cluster.execute("SELECT pg_reload_conf()")
        yield cluster


@pytest.mark.parametrize("fate", FATES)
def test_postgresql_stopped_in_the_middle_of_a_commit(fate: str, mortal: Cluster, tmp_path: Path) -> None:
    action, wait = FATES[fate]
    asleep = f"SELECT query FROM pg_stat_activity WHERE wait_event = '{wait}'"  # noqa: S608 - a constant
    with mortal.database() as url, installed(tmp_path, url) as (api, harvester):
        migrate(url)
        query(url, CATCH % action)
        with harvester.started(*BACKFILL) as running:
            running.until(lambda: bool(query(url, asleep)))
            assert query(url, asleep) == [("COMMIT",)]
            time.sleep(0.5)  # until all places are taken: nothing more is sent while the transaction hangs
            before, stored = sent(api), slices_stored(url)
            mortal.stop("immediate")
            mortal.start()
            ended = running.ended()
        assert ended.code == 0, ended.err
        assert "database_lost" in ended.err
        assert before < SLICES
        assert sent(api) <= SLICES + 2 * CONCURRENCY
        assert_harvested(url, WANTED)
        again = sent(api) - SLICES  # of what was sent and not stored when the server stopped
        assert again == before - stored if fate == "lost" else again < before - stored  # what was kept is not asked for


# No room


def test_a_full_disk_leaves_74_and_the_same_command_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "900k") as disk:
        url = f"sqlite:///{disk}/store.db"
        with installed(tmp_path, url) as (api, harvester):
            assert_ended_plainly(harvester.run(*BACKFILL), "the disk is full")
            kept = stored_rows(url)
            assert kept
            assert not kept - WANTED.rows()
            before = sent(api)
            assert before < SLICES
            assert_ended_plainly(harvester.run(*BACKFILL), "the disk is full")
            assert sent(api) - before <= 2 * CONCURRENCY  # it did not spend a window on nothing
            assert stored_rows(url) >= kept
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            assert harvester.run(*BACKFILL).code == 0
            assert_harvested(url, WANTED)


def test_postgresql_without_room_leaves_74_and_the_same_command_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "400k") as disk, running_cluster() as cluster:
        place = disk / "tables"
        place.mkdir()
        shutil.chown(place, "postgres", "postgres")
        for path in (tmp_path, *tmp_path.parents[:-2]):
            path.chmod(path.stat().st_mode | 0o111)  # the server goes through pytest's folders
        cluster.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        with cluster.database() as url, installed(tmp_path, url) as (_, harvester):
            migrate(url)
            query(url, "ALTER TABLE value SET TABLESPACE small")
            assert_ended_plainly(harvester.run(*BACKFILL), "is out of disk space")
            kept = stored_rows(url)
            assert not kept - WANTED.rows()
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            assert harvester.run(*BACKFILL).code == 0
            assert_harvested(url, WANTED)
            query(url, "ALTER TABLE value SET TABLESPACE pg_default")


# Nobody may write


def test_a_file_system_that_became_read_only_leaves_74_and_can_be_read(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64m") as disk:
        url = f"sqlite:///{disk}/store.db"
        with installed(tmp_path, url) as (api, harvester):
            assert harvester.run(*BACKFILL[:-3], "--end", "2024-06-30", "--json").code == 0
            kept, before = stored_rows(url), sent(api)
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            assert_ended_plainly(harvester.run(*BACKFILL), "read-only")
            assert sent(api) == before
            assert harvester.run("status", "--json").code == 0
            assert harvester.run("plan", *BACKFILL[1:]).result["already_covered_slices"] > 0
            exported = harvester.run("export", "performance").out
            assert exported.count("\n") == len(kept) / 6 + 1
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            assert harvester.run(*BACKFILL).code == 0
            assert_harvested(url, WANTED)


def test_a_postgresql_that_is_read_only_leaves_74(postgres_url: str, tmp_path: Path) -> None:
    migrate(postgres_url)
    (name,) = query(postgres_url, "SELECT current_database()")[0]
    query(postgres_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with installed(tmp_path, postgres_url) as (api, harvester):
        assert_ended_plainly(harvester.run(*BACKFILL), "is read-only")
        assert api.total == 0


# What is there is not what it was


@pytest.mark.parametrize("damage", ["cut", "torn"])
def test_a_damaged_file_leaves_74_and_is_not_mended(damage: str, tmp_path: Path) -> None:
    """Cut in half, or its pages full of noise but for the first ones: nothing is written over, nothing made anew."""
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
            assert_ended_plainly(harvester.run(*command), "is damaged")
        assert harvester.run("status").code == 74
        assert sent(api) - before <= 4 * CONCURRENCY
        assert path.read_bytes() == damaged
