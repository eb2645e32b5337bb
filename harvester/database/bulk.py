"""Bulk reads and writes by the database driver itself: SQLAlchemy would cause most of their cost.

The cost of a transaction follows the number of its calls. In SQLite each step of a statement also hands over to the
event loop's thread and waits for it, so many rows share one step. In PostgreSQL statements that do not depend on each
other share one round trip.

The driver's own exceptions pass through; StoreConnection.transaction translates them (database/errors.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from itertools import chain
from typing import Any

from sqlalchemy import Connection

Row = tuple[Any, ...]
Day = str | date  # a DATE as the driver reads and writes it: ISO text in SQLite

ROWS_PER_STEP = 100  # of a few columns each: old versions of SQLite accept 999 values per statement


def is_sqlite(connection: Connection) -> bool:
    """Return True for SQLite, False for PostgreSQL."""
    return connection.dialect.name == "sqlite"


def driver_of(connection: Connection) -> Any:  # noqa: ANN401 - sqlite3's or psycopg's
    """Return the driver's own connection."""
    return connection.connection.driver_connection


def day_adapter(connection: Connection) -> Callable[[date], Day]:
    """Return the function that turns a date into what the driver accepts."""
    return date.isoformat if is_sqlite(connection) else _unchanged


def read_each(connection: Connection, statement: str, parameters: Sequence[Row]) -> list[list[Row]]:
    """Execute a SELECT (with `?` for its parameters) once per row of parameters; return the rows found by each."""
    if not parameters:
        return []
    driver = driver_of(connection)
    if is_sqlite(connection):
        return [driver.execute(statement, row).fetchall() for row in parameters]
    with driver.pipeline():
        cursors = [driver.execute(_with_percent(statement), row) for row in parameters]
        return [cursor.fetchall() for cursor in cursors]


def run_all(connection: Connection, changes: Iterable[tuple[str, Sequence[Row]]]) -> None:
    """Execute each of these statements (with `?` for its parameters) once per row, in this order."""
    not_empty = [(statement, rows) for statement, rows in changes if rows]
    if not not_empty:
        return
    driver = driver_of(connection)
    if is_sqlite(connection):
        for statement, rows in not_empty:
            driver.executemany(statement, rows)
        return
    with driver.pipeline(), driver.cursor() as cursor:
        for statement, rows in not_empty:
            cursor.executemany(_with_percent(statement), rows)


def insert_many(connection: Connection, table: str, columns: str, types: Sequence[str], rows: list[Row]) -> None:
    """Insert rows; fails as a whole if one of the keys is present.

    Args:
        connection: in a transaction.
        table: its name.
        columns: their names, separated by commas.
        types: the columns' types in PostgreSQL.
        rows: a value for each column, the key's columns first; for SQLite they are sorted in place.
    """
    if not rows:
        return
    if is_sqlite(connection):
        rows.sort()  # in the order of the key, so that the tree grows at its end
        insert = f"INSERT INTO {table} ({columns}) VALUES "  # noqa: S608 - the names are constants of the callers
        _insert_in_steps(driver_of(connection), insert, len(types), rows)
        return
    with (
        driver_of(connection).cursor() as cursor,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _insert_in_steps(driver: Any, insert: str, width: int, rows: Sequence[Row]) -> None:  # noqa: ANN401 - sqlite3's
    placeholders = f"({', '.join('?' * width)})"
    for begin in range(0, len(rows), ROWS_PER_STEP):
        chunk = rows[begin : begin + ROWS_PER_STEP]
        driver.execute(insert + ", ".join([placeholders] * len(chunk)), list(chain.from_iterable(chunk)))


def _unchanged(day: date) -> date:
    return day


def _with_percent(statement: str) -> str:
    return statement.replace("?", "%s")
