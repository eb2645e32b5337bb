"""Deadlines of a database connection: how long one statement, one lock and one silence of the server may last.

Two ends enforce them. The server ends a statement that takes too long or waits too long for a lock, and then says so.
A server that says nothing, because it hangs or because something between swallows what it sends, is given up by the
client: the connection is closed and counts as lost.

A session whose process hangs, or whose link is dead, must not hold the advisory locks of its accounts for ever: the
server ends a session that has been idle for `IDLE_SESSION_SECONDS`. So a process that holds an account sends something
at least every `TOUCH_SECONDS`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CONNECT_SECONDS: Final = 10  # for TCP, TLS and the login, for each address of the server
IDLE_IN_TRANSACTION_SECONDS: Final = 60  # of a session that writes
IDLE_SESSION_SECONDS: Final = 120  # of a session that holds locks
TOUCH_SECONDS: Final = 30.0  # between two signs of life of a session that holds locks


class Patience(NamedTuple):
    """Seconds that may pass on one connection."""

    statement: float  # for the server to carry out one statement
    lock: float  # for the server to get one lock
    silence: float  # without a byte from the server; longer than `statement`, so that the server answers first


ORDINARY: Final = Patience(statement=15.0, lock=10.0, silence=20.0)
READING: Final = Patience(statement=60.0, lock=10.0, silence=65.0)  # `status` and `plan` read much at once
LONG: Final = Patience(statement=3600.0, lock=60.0, silence=3620.0)  # migrations
EXPORTING: Final = Patience(statement=600.0, lock=10.0, silence=605.0)  # the first row may need a sort of all
