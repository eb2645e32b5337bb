"""A year of days of 200 phones, 439,200 values, from the API into the database, with no quota to wait for.

The harvester's time is that of the whole process, from its start to its exit: interpreter, configuration,
authentication, requests, parsing, checks, storing, coverage. The reference is the time that the database alone takes
for the same rows, already in memory: in SQLite one `executemany` of an upsert in one transaction, in PostgreSQL a COPY
into a temporary table and one INSERT with ON CONFLICT. Those rows are keyed by their names, as in a first simple
schema. All take turns.

The same year in 2,400 requests of a month costs more fetching, which is measured separately and subtracted.

`--refetch` fetches everything once more, finds nothing new, and has the first run as its reference. The size of the
write-ahead log and pg_stat_user_tables show that it wrote nothing.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench.harvests import Ground, Run, rehearsed
from bench.table import Row
from tests.support.postgres import binaries

PHONES = 200
ROUNDS = 5
WIDE, NARROW = 366, 31  # days a request: 200 requests, or 2,400
_COLUMNS = (
    "account text, resource text, phone text, period text, epoch bigint, metric text, value double precision,"
    " fetched_at bigint"
)
_KEY = "account, resource, phone, period, epoch, metric"
_UPSERT = f"ON CONFLICT ({_KEY}) DO UPDATE SET value = excluded.value, fetched_at = excluded.fetched_at"
_ROWS = (
    "SELECT account, resource, phone, period, epoch, metric, value, CAST(strftime('%s', fetched_at) AS INTEGER)"
    " FROM metric_values"
)


def measure() -> Iterator[Row]:
    with rehearsed(PHONES, WIDE, NARROW) as ground:
        rows = _rows(ground)
        yield from _sqlite(ground, rows)
        if binaries() is not None:
            yield from _postgres(ground, rows)


def _rows(ground: Ground) -> list[tuple[Any, ...]]:
    file = ground.file()
    ground.harvest(f"sqlite:///{file}")
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return connection.execute(_ROWS).fetchall()


def _sqlite(ground: Ground, rows: Sequence[tuple[Any, ...]]) -> Iterator[Row]:
    bare, first, again, narrow, fetched, grown = [], [], [], [], [], []
    for _ in range(ROUNDS):
        bare.append(_bare_sqlite(ground.file(), rows))
        file = ground.file()
        first.append(ground.harvest(f"sqlite:///{file}"))
        size = file.stat().st_size
        with contextlib.closing(sqlite3.connect(file)) as witness:  # so that no checkpoint empties the log
            witness.execute("SELECT count(*) FROM account").fetchone()
            again.append(ground.harvest(f"sqlite:///{file}", "--refetch"))
            grown.append(file.with_name(f"{file.name}-wal").stat().st_size + file.stat().st_size - size)
        narrow.append(ground.harvest(f"sqlite:///{ground.file()}", max_days_per_request=NARROW))
        fetched.append(ground.fetch(NARROW))
    yield Row(f"{len(rows):,} values into SQLite / bare upsert", _s(first), median(bare), _remarks(first), at_most=2.5)
    log = f"{_unchanged(again)}; the files grew by {median(grown) / 1000:.0f} kB"
    yield Row("the same with --refetch / first time", _s(again), _s(first), log, at_most=1)
    yield _narrow(narrow, fetched, first)


def _postgres(ground: Ground, rows: Sequence[tuple[Any, ...]]) -> Iterator[Row]:
    bare, first, again, narrow, fetched = [], [], [], [], []
    written = 0
    for _ in range(ROUNDS):
        bare.append(_bare_postgres(ground.postgres(), rows))
        url = ground.postgres()
        first.append(ground.harvest(url))
        before = _written(url)
        again.append(ground.harvest(url, "--refetch"))
        written = max(written, _written(url) - before)
        narrow.append(ground.harvest(ground.postgres(), max_days_per_request=NARROW))
        fetched.append(ground.fetch(NARROW))
    yield Row(
        f"{len(rows):,} values into PostgreSQL / COPY and INSERT", _s(first), median(bare), _remarks(first), "s", 2
    )
    remarks = f"{_unchanged(again)}; {written} rows of values written"
    yield Row("the same with --refetch / first time", _s(again), _s(first), remarks, at_most=1)
    yield _narrow(narrow, fetched, first)


def _narrow(narrow: Sequence[Run], fetched: Sequence[Run], wide: Sequence[Run]) -> Row:
    """Compare 2,400 requests less their fetching with 200 requests for the same."""
    what = "in 2,400 requests, without fetching / in 200"
    remarks = f"{_s(narrow):.2f} s, of which fetching {_s(fetched):.2f} s; {_remarks(narrow)}"
    return Row(what, _s(narrow) - _s(fetched), _s(wide), remarks, at_most=1.5)


def _bare_sqlite(file: Path, rows: Sequence[tuple[Any, ...]]) -> float:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"CREATE TABLE v ({_COLUMNS}, PRIMARY KEY ({_KEY})) WITHOUT ROWID")
        begun = time.perf_counter()
        connection.execute("BEGIN")
        connection.executemany(f"INSERT INTO v VALUES (?, ?, ?, ?, ?, ?, ?, ?) {_UPSERT}", rows)  # noqa: S608 - ours
        connection.execute("COMMIT")
        return time.perf_counter() - begun


def _bare_postgres(url: str, rows: Sequence[tuple[Any, ...]]) -> float:
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE TABLE v ({_COLUMNS}, PRIMARY KEY ({_KEY}))".encode())
        connection.commit()
        begun = time.perf_counter()
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE t (LIKE v) ON COMMIT DROP")
            with cursor.copy("COPY t FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(f"INSERT INTO v SELECT * FROM t {_UPSERT}".encode())  # noqa: S608 - ours
        connection.commit()
        return time.perf_counter() - begun


def _written(url: str) -> int:
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        found = connection.execute(
            "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'value'"
        ).fetchone()
    return int(found[0]) if found else 0


def _s(runs: Sequence[Run]) -> float:
    return median(run.seconds for run in runs)


def _remarks(runs: Sequence[Run]) -> str:
    requests = runs[-1].result["requests"]
    return f"{requests} requests; CPU {median(run.cpu for run in runs):.2f} s; {runs[-1].megabytes:.0f} MB"


def _unchanged(runs: Sequence[Run]) -> str:
    rows = runs[-1].result["rows"]
    return f"{rows['unchanged']:,} unchanged, {rows['new'] + rows['changed']} written"
