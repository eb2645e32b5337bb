"""Many statements or rows at once, by the driver itself: SQLAlchemy's share would be most of their cost.

A transaction costs by the number of its calls. In SQLite each step of a statement also lets the event loop's thread
run and waits for it, so that many rows share one step. In PostgreSQL statements that don't depend on each other share
one journey to the server.

The driver's own exceptions pass through; whoever holds the transaction translates them (store.trouble).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection

Row = tuple[Any, ...]
Day = str | date  # a DATE as the driver takes and gives it: ISO text in SQLite

ROWS_PER_STEP = 100  # of a few columns each: SQLite takes 999 values in one statement, whatever its age


def is_sqlite(connection: Connection) -> bool:
    """Whether this is SQLite and not PostgreSQL."""
    return connection.dialect.name == "sqlite"


def driver_of(connection: Connection) -> Any:  # noqa: ANN401 - sqlite3's or psycopg's
    """The driver's own connection."""
    return connection.connection.driver_connection


def day_adapter(connection: Connection) -> Callable[[date], Day]:
    """What makes of a date what the driver takes."""
    return date.isoformat if is_sqlite(connection) else _itself


def read_each(connection: Connection, statement: str, questions: Sequence[Row]) -> list[list[Row]]:
    """The rows that a SELECT (with `?` for its parameters) finds for each of the questions, in their order."""
    if not questions:
        return []
    driver = driver_of(connection)
    if is_sqlite(connection):
        return [driver.execute(statement, question).fetchall() for question in questions]
    with driver.pipeline():
        cursors = [driver.execute(_percent(statement), question) for question in questions]
        return [cursor.fetchall() for cursor in cursors]


def run_all(connection: Connection, changes: Iterable[tuple[str, Sequence[Row]]]) -> None:
    """Execute each of these statements (with `?` for its parameters) once per row, in this order."""
    needed = [(statement, rows) for statement, rows in changes if rows]
    if not needed:
        return
    driver = driver_of(connection)
    if is_sqlite(connection):
        for statement, rows in needed:
            driver.executemany(statement, rows)
        return
    with driver.pipeline(), driver.cursor() as cursor:
        for statement, rows in needed:
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
        _insert_in_steps(driver_of(connection), insert, len(types), rows)
        return
    with (
        driver_of(connection).cursor() as cursor,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _insert_in_steps(driver: Any, insert: str, width: int, rows: Sequence[Row]) -> None:  # noqa: ANN401 - the driver's
    one = f"({', '.join('?' * width)})"
    for begin in range(0, len(rows), ROWS_PER_STEP):
        some = rows[begin : begin + ROWS_PER_STEP]
        driver.execute(insert + ", ".join([one] * len(some)), list(chain.from_iterable(some)))


def _itself(day: date) -> date:
    return day


def _percent(statement: str) -> str:
    return statement.replace("?", "%s")
