"""A psycopg connection with deadlines. Imported only where PostgreSQL is used: psycopg takes 60 ms to import.

Every wait for the server passes through `Connection.wait` as a generator that is resumed at least every 0.1 s. The
deadline is checked there, in the thread that waits: no other thread touches the socket, so none can hit the socket of a
later connection that got the same number.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from threading import Event
from typing import Any, TypeVar

import psycopg

from harvester.database.patience import IDLE_IN_TRANSACTION_SECONDS, IDLE_SESSION_SECONDS, ORDINARY, Patience

_T = TypeVar("_T")
_WAITS_FOR_IDLE_SESSIONS = 14_00_00  # the version from which a server can end idle sessions


class DeadlineConnection(psycopg.Connection[Any]):
    """A connection that closes itself when the server is silent for too long, or when it is cut off.

    Attributes:
        patience: may be changed between two statements.
        cut_off: set from any thread, it ends the present wait and all later ones.
        backend: the id of the server's process that the session began with.
    """

    backend: int = 0
    patience: Patience = ORDINARY
    cut_off: Event | None = None

    def wait(self, gen: Generator[Any, Any, _T], *args: Any, **options: Any) -> _T:  # noqa: ANN401 - as in psycopg
        """Wait for the server, see psycopg.

        Raises:
            OperationalError: nothing came for too long, or the connection was cut off. It is closed.
        """
        return super().wait(self._until_deadline(gen), *args, **options)

    def _until_deadline(self, gen: Generator[Any, Any, _T]) -> Generator[Any, Any, _T]:
        silence = self.patience.silence
        deadline = time.monotonic() + silence
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if self.cut_off is not None and self.cut_off.is_set():
                    raise self._given_up("cut off, because this process ends")
                if ready:
                    deadline = time.monotonic() + silence
                elif time.monotonic() >= deadline:
                    raise self._given_up(f"the server has not answered for {silence:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: _T = end.value
            return result

    def _given_up(self, reason: str) -> psycopg.OperationalError:
        self.pgconn.finish()
        return psycopg.OperationalError(reason)

    def set_patience(self, patience: Patience) -> None:
        """Apply the deadlines at both ends. For a connection that is in no transaction or in one of its own."""
        self.execute(
            f"SET statement_timeout = {patience.statement * 1000:.0f}; SET lock_timeout = {patience.lock * 1000:.0f}"
        )
        self.patience = patience

    def limit_idle_time(self) -> None:
        """Make the server end this session when it is idle for too long: it may hold locks."""
        statement = f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_SECONDS} s'"
        if self.info.server_version >= _WAITS_FOR_IDLE_SESSIONS:
            statement += f"; SET idle_session_timeout = '{IDLE_SESSION_SECONDS} s'"
        self.execute(statement)
