"""A pooler that breaks sessions is refused before anything is locked; one that keeps them works."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg
import pytest

from harvester.core.model import RowCounts
from harvester.database.dsn import parse
from harvester.database.pooler import refuse_pooled
from harvester.errors import SessionShared, StoreError
from harvester.store.account_store import AccountStore
from harvester.store.claims import Database
from harvester.store.migrate import migrate
from harvester.store.types import AccountHeld
from tests.support.answers import JANUARY, answer, identity
from tests.support.databases import claimed, opened, query
from tests.support.pgbouncer import pooled
from tests.support.postgres import Cluster

ROUND_ROBIN: dict[str, object] = {"server_round_robin": 1}


@pytest.fixture
def migrated_url(postgres_url: str) -> str:
    migrate(postgres_url)
    return postgres_url


def hold_idle_connections(url: str, count: int) -> None:
    """Leave this number of idle connections to the server in the pool."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(psycopg.connect(url)).execute("SELECT 1")


@pytest.mark.parametrize(
    ("settings", "idle"),
    [({}, 0), ({}, 4), (ROUND_ROBIN, 1), (ROUND_ROBIN, 4), ({"default_pool_size": 1}, 0)],
)
async def test_a_pool_in_transaction_mode_is_refused(
    postgres: Cluster, migrated_url: str, settings: dict[str, Any], idle: int
) -> None:
    with pooled(postgres, migrated_url, "transaction", **settings) as url:
        hold_idle_connections(url, idle)
        database = Database(url)
        for _ in range(2):
            with pytest.raises(SessionShared, match="pool_mode = session") as caught:
                await database.claim(identity())
            assert "\n" not in str(caught.value)
        await database.close()
        with pytest.raises(SessionShared):
            refuse_pooled(parse(url))
        locks = query(migrated_url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert locks == [(0,)], "a lock in the pool would shut out every process for ever"


async def test_a_pool_in_statement_mode_is_refused(postgres: Cluster, migrated_url: str) -> None:
    with pooled(postgres, migrated_url, "statement") as url:
        database = Database(url)
        with pytest.raises(StoreError, match="statement pooling mode"):
            await database.claim(identity())
        await database.close()


@pytest.mark.parametrize("settings", [{}, ROUND_ROBIN])
async def test_a_pool_in_session_mode_works(postgres: Cluster, migrated_url: str, settings: dict[str, Any]) -> None:
    with pooled(postgres, migrated_url, "session", **settings) as url:
        hold_idle_connections(url, 2)
        refuse_pooled(parse(url))
        async with claimed(url, identity()) as store, opened(url) as other:
            assert await store.commit([answer(JANUARY, {"calls": [1.0]})], []) == RowCounts(new=1)
            assert isinstance(await other.claim(identity()), AccountHeld)
        async with claimed(url, identity()) as store:
            assert isinstance(store, AccountStore)


async def test_a_session_that_moves_to_another_process_commits_nothing(migrated_url: str) -> None:
    """As behind a pooler that was set to another mode since the claim."""
    async with claimed(migrated_url, identity()) as store:
        driver = store._store_connection._connection.connection.driver_connection  # noqa: SLF001 - no pooler does it on request
        assert driver is not None
        driver.backend = 1
        with pytest.raises(SessionShared):
            await store.commit([answer(JANUARY, {"calls": [1.0]})], [])
    assert query(migrated_url, "SELECT count(*) FROM value") == [(0,)]
