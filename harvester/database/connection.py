"""One connection to the database, used in transactions that are all or nothing.

There is no pool, no ping and no reconnect. An advisory lock ends with its connection, so a connection that was
replaced silently would write without the lock; a StoreConnection that is lost stays lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from harvester.database.bulk import driver_of
from harvester.database.dsn import SqliteTarget, Target, begin_immediate
from harvester.database.errors import translated
from harvester.database.file_watch import FileWatch
from harvester.database.patience import ORDINARY, Patience
from harvester.errors import ClaimLost, SessionShared, StoreError, StoreLost
from harvester.failpoints import Step, step

if TYPE_CHECKING:
    import psycopg


class StoreConnection:
    """An open connection. Use it from one thread at a time.

    Args:
        target: the database.
        read_only: open it without the ability to write; each transaction then reads one snapshot of the data.
        patience: deadlines of its statements in PostgreSQL.
        cut_off: set from any thread, it ends the present wait for the database, and all later ones.
    """

    def __init__(
        self,
        target: Target,
        *,
        read_only: bool = False,
        patience: Patience = ORDINARY,
        cut_off: Event | None = None,
    ) -> None:
        self.target = target
        self.lost = False
        self._loss = f"{target}, in an earlier call"
        with translated(target):
            self._engine = _engine(target, read_only=read_only, patience=patience, cut_off=cut_off or Event())
            try:
                self._connection = self._engine.connect()
            except BaseException:
                self._engine.dispose()
                raise
        self._file = FileWatch(target.path) if isinstance(target, SqliteTarget) else None
        if self._file is not None and not read_only:
            self._file.open()

    @property
    def is_sqlite(self) -> bool:
        """True for SQLite, False for PostgreSQL."""
        return isinstance(self.target, SqliteTarget)

    @property
    def backend(self) -> int:
        """The id of the PostgreSQL server's process that the session began with; 0 for SQLite."""
        return 0 if self.is_sqlite else int(driver_of(self._connection).backend)

    @contextmanager
    def transaction(self, *, reading: bool = False) -> Iterator[Connection]:
        """Commit at the end of the block; roll all of it back if the block raises.

        Args:
            reading: the block only reads, so it does not wait for another writer of the same SQLite file.

        Raises:
            StoreLost: the connection was lost, now or in an earlier call.
            StoreError: the database reports an error.
        """
        if self.lost:
            raise StoreLost(self._loss)
        try:
            self._check_file()  # here, too: a checkpoint of this transaction would fill up what was cut off
            self._connection.execution_options(reading=reading)
            with translated(self.target):
                transaction = _begin(self._connection)
                try:
                    self._refuse_another_session()
                    yield self._connection
                    _commit(transaction)
                except BaseException:
                    self._roll_back(transaction)
                    self.check_frozen()  # a file that changed under a reader looks damaged
                    raise
            self._check_file()
        except ClaimLost:
            raise  # of one account: the connection works
        except StoreError as error:
            self.lost |= isinstance(error, StoreLost)
            if self.lost:
                self._loss = error.detail  # the next caller may be the one that reports it
            raise
        finally:
            if self._connection.invalidated:
                self.lost = True

    def _roll_back(self, transaction: RootTransaction) -> None:
        """Roll back, also after a failed COMMIT, or no transaction could begin again.

        Errors are ignored: the one that led here says more.
        """
        with suppress(SQLAlchemyError, sqlite3.Error):
            transaction.rollback()
            if self.is_sqlite and driver_of(self._connection).in_transaction:
                driver_of(self._connection).rollback()  # to SQLAlchemy a failed COMMIT has ended the transaction

    def _refuse_another_session(self) -> None:
        """Raise if another process of the PostgreSQL server answers: without the session's locks and settings."""
        if not self.is_sqlite and backend_of(driver_of(self._connection)) != self.backend:
            self.lost = True
            raise SessionShared(shared(self.target))

    def check_frozen(self) -> None:
        """Raise StoreError if a file that is read without locks was written since it was opened."""
        if not self.is_sqlite or self._connection.invalidated:  # SQLAlchemy would connect again, without the locks
            return
        frozen = getattr(driver_of(self._connection), "frozen", None)
        if frozen is not None:
            frozen.check()

    def _check_file(self) -> None:
        self.check_frozen()
        if self._file is not None:
            try:
                self._file.check()
            except StoreError:
                self.lost = True
                raise

    def set_patience(self, patience: Patience) -> None:
        """Change the deadlines of the statements that follow; without effect in SQLite."""
        if not self.is_sqlite:
            with translated(self.target):
                driver_of(self._connection).set_patience(patience)

    def close(self) -> None:
        """Close the connection, and with it release its advisory locks."""
        self.lost = True
        try:
            with translated(self.target):
                self._connection.close()
        finally:
            self._engine.dispose()
            if self._file is not None:
                self._file.close()


def backend_of(driver: psycopg.Connection[Any]) -> int:
    """Return the id of the server's process that answers."""
    row = driver.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row is not None else 0


def shared(target: Target) -> str:
    """Return the detail of SessionShared."""
    return (
        f"{target} is reached through a pooler in transaction or statement mode; name the PostgreSQL server itself in"
        " database.url, or a pool in session mode (PgBouncer: pool_mode = session)"
    )


@step(Step.BEGIN)
def _begin(connection: Connection) -> RootTransaction:
    return connection.begin()


@step(Step.COMMIT)
def _commit(transaction: RootTransaction) -> None:
    transaction.commit()


def _engine(target: Target, *, read_only: bool, patience: Patience, cut_off: Event) -> Engine:
    url = "sqlite://" if isinstance(target, SqliteTarget) else "postgresql+psycopg://"
    engine = create_engine(
        url,
        creator=lambda: target.connect(read_only=read_only, patience=patience, cut_off=cut_off),
        poolclass=NullPool,
        hide_parameters=True,
    )
    if isinstance(target, SqliteTarget):

        @event.listens_for(engine, "begin")
        def _emit_begin(connection: Connection) -> None:
            reading = read_only or connection.get_execution_options().get("reading", False)
            # By the driver itself: through SQLAlchemy this would take 0.1 ms before every transaction.
            if reading:
                driver_of(connection).execute("BEGIN")
            else:
                begin_immediate(driver_of(connection), cut_off)

    return engine
