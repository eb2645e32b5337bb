"""A host that vanishes must not keep its accounts: the server, too, is to notice within a minute."""

from __future__ import annotations

import contextlib

from harvester.store.dsn import parse


def test_the_server_asks_whether_we_live(postgres_url: str) -> None:
    # Over a socket the values themselves read as 0: there is no TCP. That the session set them shows.
    with contextlib.closing(parse(postgres_url).connect()) as connection:
        found = connection.execute("SELECT name FROM pg_settings WHERE source = 'session' AND name LIKE 'tcp\\_%'")
        assert {name for (name,) in found.fetchall()} == {
            "tcp_keepalives_idle",
            "tcp_keepalives_interval",
            "tcp_keepalives_count",
            "tcp_user_timeout",
        }
