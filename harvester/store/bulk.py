"""Many statements or rows at once, by the driver itself: SQLAlchemy's share would be most of their cost.

What is called here once takes hundreds of rows, so it is the number of calls that a transaction costs by. In SQLite
each step of a statement also lets the event loop's thread run and waits for it, so that many rows share one step. In
PostgreSQL questions that don't depend on each other share one journey to the server.

The driver's own exceptions pass through; whoever holds the transaction translates them (store.trouble).
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from sqlalchemy import Connection

    Row = tuple[Any, ...]
    Day = str | date  # a DATE as the driver takes and gives it: ISO text in SQLite

ROWS_PER_STEP = 100  # of a few columns each: SQLite takes 999 values in one statement, whatever its age


def is_sqlite(connection: Connection) -> bool:
    """Whether this is SQLite and not PostgreSQL."""
    return connection.dialect.name == "sqlite"


def as_day(connection: Connection, day: date) -> Day:
    """A date as the driver takes it."""
    return day.isoformat() if is_sqlite(connection) else day


def read_each(connection: Connection, statement: str, questions: Iterable[Row]) -> list[list[Row]]:
    """The rows that a SELECT (with `?` for its parameters) finds for each of the questions, in their order."""
    driver = _driver(connection)
    if is_sqlite(connection):
        return [driver.execute(statement, question).fetchall() for question in questions]
    with driver.pipeline():
        cursors = [driver.execute(_percent(statement), question) for question in questions]
        return [cursor.fetchall() for cursor in cursors]


def run_many(connection: Connection, statement: str, rows: Sequence[Row]) -> None:
    """Execute a statement (with `?` for its parameters) once per row."""
    if not rows:
        return
    if is_sqlite(connection):
        _driver(connection).executemany(statement, rows)
        return
    with _driver(connection).cursor() as cursor:
        cursor.executemany(_percent(statement), rows)


def insert_many(connection: Connection, table: str, columns: str, types: Sequence[str], rows: list[Row]) -> None:
    """Insert rows that are not there yet; fails as a whole where one is.

    Args:
        connection: in a transaction.
        table: its name.
        columns: their names, with commas.
        types: theirs in PostgreSQL.
        rows: a value for each column, the key's columns first; they are put into the key's order.
    """
    if not rows:
        return
    if is_sqlite(connection):
        rows.sort()  # as the tree grows
        insert = f"INSERT INTO {table} ({columns}) VALUES "  # noqa: S608 - names are the caller's own
        _insert_in_steps(_driver(connection), insert, len(types), rows)
        return
    with (
        _driver(connection).cursor() as cursor,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _insert_in_steps(driver: Any, insert: str, width: int, rows: Sequence[Row]) -> None:  # noqa: ANN401 - the driver's
    one = f"({', '.join('?' * width)})"
    whole = len(rows) // ROWS_PER_STEP * ROWS_PER_STEP
    together = insert + ", ".join([one] * ROWS_PER_STEP)
    for begin in range(0, whole, ROWS_PER_STEP):
        driver.execute(together, list(chain.from_iterable(rows[begin : begin + ROWS_PER_STEP])))
    driver.executemany(insert + one, rows[whole:])


def _driver(connection: Connection) -> Any:  # noqa: ANN401 - sqlite3's or psycopg's
    return connection.connection.driver_connection


def _percent(statement: str) -> str:
    return statement.replace("?", "%s")
