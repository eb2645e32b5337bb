"""Presets of roles and databases do not reach the harvester's sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harvester.core.model import RowCounts
from harvester.core.period import Period
from harvester.errors import StoreError
from harvester.store.migrate import migrate
from harvester.store.reader import Reader
from harvester.store.schema_state import schema_state
from tests.support.answers import JANUARY, answer, identity
from tests.support.databases import claimed, query
from tests.support.postgres import Cluster

FIGURE = 0.1 + 0.2  # its text has 17 digits
HOSTILE = [
    "client_encoding = 'SQL_ASCII'",
    "DateStyle = 'German'",
    "IntervalStyle = 'sql_standard'",
    "TimeZone = 'Pacific/Kiritimati'",
    "extra_float_digits = 0",
    "search_path = ''",
    "standard_conforming_strings = off",
    "transform_null_equals = on",
    "default_transaction_isolation = 'serializable'",
    "synchronous_commit = off",
]


def database_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


@pytest.fixture
def role_url(postgres: Cluster) -> Iterator[str]:
    """An empty database that belongs to a role without further rights."""
    with postgres.database() as url:
        name = database_of(url)
        postgres.execute(f'CREATE ROLE "{name}" LOGIN')
        postgres.execute(f'ALTER DATABASE "{name}" OWNER TO "{name}"')
        yield url.replace("postgres@", f"{name}@", 1)
    postgres.execute(f'DROP ROLE "{name}"')


async def use(url: str) -> tuple[RowCounts, list[tuple[object, ...]]]:
    """Migrate, store, store the same again, and export."""
    migrate(url)
    batch = answer(JANUARY, {"calls": [FIGURE], "average_page_load": [1234567890.123456]})
    async with claimed(url, identity(phones=(("8005551234", "Büro ☎"),))) as store:
        await store.commit([batch], [])
    async with claimed(url, identity(phones=(("8005551234", "Büro ☎"),))) as store:
        again = await store.commit([batch], [])
    with Reader(url) as reader:
        rows = reader.export("performance", period=Period.DAY)
        wanted = [
            rows.columns.index(name) for name in ("phone_name", "period_start", "local_date", "calls", "complete")
        ]
        return again, [tuple(row[at] for at in wanted) for row in rows.rows]


@pytest.mark.parametrize("preset", HOSTILE)
async def test_a_preset_of_the_role_changes_nothing(role_url: str, postgres: Cluster, preset: str) -> None:
    postgres.execute(f'ALTER ROLE "{database_of(role_url)}" SET {preset}')
    again, rows = await use(role_url)
    assert again == RowCounts(unchanged=2)
    assert rows == [("Büro ☎", "2024-01-01 05:00:00", "2024-01-01", FIGURE, True)]


async def test_presets_of_the_database_change_nothing(role_url: str, postgres: Cluster) -> None:
    for preset in HOSTILE:
        postgres.execute(f'ALTER DATABASE "{database_of(role_url)}" SET {preset}')
    again, rows = await use(role_url)
    assert again == RowCounts(unchanged=2)
    assert [row[2:4] for row in rows] == [("2024-01-01", FIGURE)]


async def test_a_preset_of_the_environment_changes_nothing(role_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    monkeypatch.setenv("PGDATESTYLE", "German")
    monkeypatch.setenv("PGOPTIONS", "-c extra_float_digits=0 -c standard_conforming_strings=off")
    again, rows = await use(role_url)
    assert again == RowCounts(unchanged=2)
    assert [row[2:4] for row in rows] == [("2024-01-01", FIGURE)]


async def test_a_database_that_is_set_to_be_read_only_is_not_written(role_url: str, postgres: Cluster) -> None:
    await use(role_url)
    postgres.execute(f'ALTER ROLE "{database_of(role_url)}" SET default_transaction_read_only = on')
    with Reader(role_url) as reader:
        assert len(reader.accounts()) == 1
    with pytest.raises(StoreError, match="is read-only: a standby, or by default_transaction_read_only"):
        await use(role_url)


async def test_rows_that_a_policy_hides_are_an_error_and_no_gap(role_url: str) -> None:
    await use(role_url)
    query(
        role_url,
        "ALTER TABLE value ENABLE ROW LEVEL SECURITY; ALTER TABLE value FORCE ROW LEVEL SECURITY;"
        " CREATE POLICY hidden ON value USING (false)",
    )
    with pytest.raises(StoreError, match="row-level security"):
        await use(role_url)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
@pytest.mark.parametrize("call", [schema_state, migrate, Reader])
def test_a_database_in_another_encoding_is_refused(
    postgres: Cluster, encoding: str, call: Callable[[str], object]
) -> None:
    name = encoding.lower()
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")
    try:
        with pytest.raises(StoreError, match=f"has the encoding {encoding}.*createdb --template") as caught:
            call(postgres.url(name))
        assert "\n" not in str(caught.value)
    finally:
        postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
