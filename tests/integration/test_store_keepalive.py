"""Keepalive at the server's end: it releases the locks of a host that vanished after about a minute."""

from __future__ import annotations

import contextlib

from harvester.database.dsn import parse


def test_the_connection_sets_the_keepalive_of_the_server(postgres_url: str) -> None:
    # Without TCP, over a socket, the values read as 0; pg_settings still lists what the session has set.
    with contextlib.closing(parse(postgres_url).connect()) as connection:
        found = connection.execute("SELECT name FROM pg_settings WHERE source = 'session' AND name LIKE 'tcp\\_%'")
        assert {name for (name,) in found.fetchall()} == {
            "tcp_keepalives_idle",
            "tcp_keepalives_interval",
            "tcp_keepalives_count",
            "tcp_user_timeout",
        }
