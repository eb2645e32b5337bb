"""Detection of poolers that give a session's connection to the server to other sessions between two transactions.

Behind one, an advisory lock belongs to no process: two daemons take it, and after both have ended it may be stranded in
the pool. So before anything is locked, a second session is opened while the first one is idle. A pooler that shares
connections gives it the first one's, or gives the first one another as soon as the second is in a transaction. A pool
in session mode does neither. What this does not find is found later: every transaction compares the server's process
with the one that the session began with (StoreConnection.transaction).
"""

from __future__ import annotations

from contextlib import closing
from threading import Event

from harvester.database.connection import StoreConnection, backend_of, shared
from harvester.database.dsn import SqliteTarget, Target
from harvester.database.errors import translated
from harvester.errors import SessionShared, StoreError


def refuse_pooler(store_connection: StoreConnection, *, cut_off: Event | None = None) -> None:
    """Raise unless the session keeps its connection to the server between two transactions.

    Args:
        store_connection: holds no lock yet.
        cut_off: set from any thread, it ends the wait for the database.

    Raises:
        SessionShared: it does not.
        StoreError: the connection failed.
    """
    target = store_connection.target
    if isinstance(target, SqliteTarget):
        return
    with store_connection.transaction(reading=True):
        pass  # which compares the server's process
    try:
        second = target.connect(cut_off=cut_off)
    except StoreError:
        return  # the server allows one connection only, so it cannot be shared
    with closing(second), translated(target):
        if store_connection.backend in {second.backend, backend_of(second)}:  # the latter begins a transaction
            raise SessionShared(shared(target))
        for _ in range(3):  # a pool with several idle connections may choose the same one by chance
            with store_connection.transaction(reading=True):
                pass


def refuse_pooled(target: Target) -> None:
    """Open a session and check it, see `refuse_pooler`; for programs that have none.

    Raises:
        SessionShared: the database is behind a pooler that shares connections.
        StoreError: the connection failed.
    """
    if isinstance(target, SqliteTarget):
        return
    store_connection = StoreConnection(target)
    try:
        refuse_pooler(store_connection)
    finally:
        store_connection.close()
