"""One connection to the database, in transactions that are all or nothing.

There is no pool, no ping and no second try. An advisory lock dies with its connection, so a connection that were
replaced silently would write on without it; a session that lost its connection is lost for good.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from harvester.errors import StoreError, StoreLost
from harvester.failpoints import Step, step
from harvester.store.bulk import driver_of
from harvester.store.dsn import SqliteTarget, Target
from harvester.store.errors import translated


class StoreConnection:
    """A connection, held open. Used by one thread at a time.

    Args:
        target: where the database is.
        read_only: open it without the means to write; a transaction is one unchanging view of the data.
    """

    def __init__(self, target: Target, *, read_only: bool = False) -> None:
        self.target = target
        self.lost = False
        with translated(target):
            self._engine = _engine(target, read_only=read_only)
            try:
                self._connection = self._engine.connect()
            except BaseException:
                self._engine.dispose()
                raise
        self._file = _identity(target)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file of SQLite's."""
        return isinstance(self.target, SqliteTarget)

    @contextmanager
    def transaction(self, *, reading: bool = False) -> Iterator[Connection]:
        """Commit at the end of the block; roll back, all of it, when the block raises.

        Args:
            reading: the block only reads, so that it need not wait for another writer of the same SQLite file.

        Raises:
            StoreLost: the connection is gone, now or since an earlier call.
            StoreError: the database refuses.
        """
        if self.lost:
            raise StoreLost(f"{self.target}: the connection was lost before")
        try:
            self._connection.execution_options(reading=reading)
            with translated(self.target):
                transaction = _begun(self._connection)
                try:
                    yield self._connection
                    _commit(transaction)
                except BaseException:
                    self._roll_back(transaction)
                    raise
            self._refuse_another_file()
        except StoreLost:
            self.lost = True
            raise
        finally:
            if self._connection.invalidated:
                self.lost = True

    def _roll_back(self, transaction: RootTransaction) -> None:
        """Also what could not be committed, or nothing would ever begin again. The first error tells more."""
        with suppress(SQLAlchemyError, sqlite3.Error):
            transaction.rollback()
            if self.is_sqlite and driver_of(self._connection).in_transaction:
                driver_of(self._connection).rollback()  # for SQLAlchemy it ended with COMMIT, whatever became of that

    def _refuse_another_file(self) -> None:
        """SQLite writes on into a file that was removed, as if all were well."""
        if _identity(self.target) != self._file:
            self.lost = True
            raise StoreError(f"{self.target} was removed or replaced while it was in use; nothing in it is safe")

    def close(self) -> None:
        """End the connection, and with it the locks that it holds."""
        self.lost = True
        try:
            with translated(self.target):
                self._connection.close()
        finally:
            self._engine.dispose()


@step(Step.BEGIN)
def _begun(connection: Connection) -> RootTransaction:
    return connection.begin()


@step(Step.COMMIT)
def _commit(transaction: RootTransaction) -> None:
    transaction.commit()


def _identity(target: Target) -> tuple[int, int] | None:
    """Which file SQLite's path names at this moment."""
    if not isinstance(target, SqliteTarget):
        return None
    try:
        status = target.path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _engine(target: Target, *, read_only: bool) -> Engine:
    url = "sqlite://" if isinstance(target, SqliteTarget) else "postgresql+psycopg://"
    engine = create_engine(
        url, creator=lambda: target.connect(read_only=read_only), poolclass=NullPool, hide_parameters=True
    )
    if isinstance(target, SqliteTarget):

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            reading = read_only or connection.get_execution_options().get("reading", False)
            # By the driver itself: SQLAlchemy takes 0.1 ms for what is asked before every transaction.
            driver_of(connection).execute("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine
