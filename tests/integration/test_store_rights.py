"""A schema that looks empty: another one, a forbidden one, or one that another program uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harvester.core.period import Period
from harvester.errors import SchemaError, StoreError
from harvester.store.claims import Database
from harvester.store.migrate import migrate
from harvester.store.reader import Reader
from harvester.store.schema_state import schema_state
from harvester.store.types import SchemaFit
from tests.support.answers import JANUARY, answer, identity
from tests.support.databases import claimed, query
from tests.support.postgres import Cluster
from tests.support.process import Ended, Installation, configuration
from tests.support.schema import migrate_to

Run = Callable[..., Ended]
DAYS = ("--start", "2024-01-01", "--end", "2024-01-02")


@pytest.fixture
def reader_url(postgres: Cluster, postgres_url: str) -> Iterator[str]:
    """The database as a role sees it that has no rights."""
    name = postgres_url.partition("@/")[2].partition("?")[0]
    postgres.execute(f'CREATE ROLE "{name}" LOGIN')
    try:
        yield postgres_url.replace("postgres@", f"{name}@", 1)
    finally:
        query(postgres_url, f'DROP OWNED BY "{name}"')
        postgres.execute(f'DROP ROLE "{name}"')


def role_of(url: str) -> str:
    return url.partition("//")[2].partition("@")[0]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command with this database and schema in its configuration."""

    def run(url: str, schema: str, *command: str, auto_migrate: bool = False) -> Ended:
        database = {"schema": schema, "auto_migrate": auto_migrate}
        tables = configuration("http://127.0.0.1:9/api", url, database=database, start="2024-01-01")
        return Installation(tmp_path, tables).run(*command)

    return run


async def fill(url: str, schema: str = "public") -> None:
    migrate(url, schema)
    async with claimed(url, identity(), schema=schema) as store:
        await store.commit([answer(JANUARY, {"calls": [1.0]})], [])


@pytest.mark.parametrize("relation", ["TABLE events (id int)", "VIEW metrics AS SELECT 1", "TABLE quota (id int)"])
@pytest.mark.parametrize("auto_migrate", [False, True])
def test_another_programs_table_stands_in_the_way(
    postgres_url: str, run: Run, relation: str, *, auto_migrate: bool
) -> None:
    name = relation.split()[1]
    query(postgres_url, f"CREATE {relation}")
    query(postgres_url, "CREATE TABLE orders (id int)")
    for command in (("migrate",), ("check",), ("backfill", *DAYS)):
        ended = run(postgres_url, "public", *command, auto_migrate=auto_migrate)
        assert ended.code == 74
        text = ended.out + ended.err
        assert f'another program\'s {name} in the schema "public"' in text
        assert "set database.schema to a schema of its own" in text
        assert "already exists" not in text
        assert "run `harvester migrate`" not in text
    assert query(postgres_url, "SELECT count(*) FROM pg_class WHERE relname = 'harvester_version'") == [(0,)]
    assert run(postgres_url, "voicetrends", "migrate").code == 0


def test_other_tables_do_not_stand_in_the_way(postgres_url: str) -> None:
    query(postgres_url, "CREATE TABLE orders (id int)")
    assert schema_state(postgres_url)[:3] == (SchemaFit.EMPTY, None, "")
    migrate(postgres_url)
    assert schema_state(postgres_url).fit is SchemaFit.HEAD


def test_a_table_in_the_way_of_the_next_version(postgres_url: str) -> None:
    migrate_to(postgres_url, "0003")
    query(postgres_url, "CREATE TABLE spender_quota (id int)")
    with pytest.raises(SchemaError, match="another program's spender_quota"):
        migrate(postgres_url)


async def test_a_mistyped_schema_is_named_beside_the_one_that_has_the_tables(postgres_url: str, run: Run) -> None:
    await fill(postgres_url, "voicetrends")
    for schema, words in (("voicetrend", 'no schema "voicetrend"'), ("public", 'no tables in the schema "public"')):
        for command in (("check",), ("backfill", *DAYS), ("plan", *DAYS), ("status",)):
            ended = run(postgres_url, schema, *command)
            text = ended.out + ended.err
            assert ended.code == 74, text
            assert words in text
            assert 'the harvester\'s tables in "voicetrends"' in text
            assert "correct database.schema" in text
        with pytest.raises(SchemaError, match=r"correct database\.schema"):
            Reader(postgres_url, schema)
    assert run(postgres_url, "voicetrends", "plan", *DAYS).code == 0


def test_a_schema_that_does_not_exist_yet(postgres_url: str, run: Run) -> None:
    checked = run(postgres_url, "voicetrends", "check")
    assert checked.code == 74
    assert 'no schema "voicetrends"; correct database.schema, or run `harvester migrate` to create it' in (
        checked.out + checked.err
    )
    assert run(postgres_url, "voicetrends", "plan", *DAYS).code == 0
    assert run(postgres_url, "voicetrends", "check", auto_migrate=True).code == 0
    assert schema_state(postgres_url, "voicetrends") == (SchemaFit.MISSING, None, "", ())


async def test_a_login_without_usage_is_not_shown_an_empty_schema(postgres_url: str, reader_url: str, run: Run) -> None:
    await fill(postgres_url, "voicetrends")
    for command in (("check",), ("plan", *DAYS), ("status",), ("export", "performance"), ("migrate",)):
        ended = run(reader_url, "voicetrends", *command)
        text = ended.out + ended.err
        assert ended.code == 74, text
        assert "GRANT USAGE ON SCHEMA voicetrends TO " in text
        assert role_of(reader_url) in text
        assert "empty" not in text


async def test_lacking_grants_are_named(postgres_url: str, reader_url: str) -> None:
    await fill(postgres_url)
    role = role_of(reader_url)
    with pytest.raises(StoreError, match=r"does not let .* read harvester_version.*GRANT SELECT ON public.harvester"):
        Reader(reader_url)
    query(postgres_url, f'GRANT SELECT ON harvester_version, account, series TO "{role}"')
    with Reader(reader_url) as reader:
        with pytest.raises(StoreError, match=r"GRANT SELECT ON public.absence, public.coverage, .*public.value TO"):
            reader.accounts()
        with pytest.raises(StoreError, match=r"GRANT SELECT ON public.performance TO"):
            reader.export("performance", period=Period.DAY)


def test_a_login_that_may_not_create_is_not_advised_to_migrate(postgres_url: str, reader_url: str, run: Run) -> None:
    role = role_of(reader_url)
    for schema, words in (("public", f"GRANT CREATE ON SCHEMA public TO {role}"), ("other", f"AUTHORIZATION {role}")):
        for command in ("check", "migrate"):
            ended = run(reader_url, schema, command)
            assert ended.code == 74
            assert words in ended.out + ended.err
            assert "run `harvester migrate`" not in ended.out + ended.err
    query(postgres_url, f'GRANT CREATE ON SCHEMA public TO "{role}"')
    assert run(reader_url, "public", "migrate").code == 0


async def test_another_logins_older_tables(postgres_url: str, reader_url: str) -> None:
    migrate_to(postgres_url, "0003")
    query(postgres_url, f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role_of(reader_url)}"')
    database = Database(reader_url)
    with pytest.raises(SchemaError, match="only the owner of its tables can migrate, postgres"):
        await database.claim(identity())
    await database.close()
