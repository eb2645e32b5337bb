"""Behind a pooler that breaks sessions every command that would hold an account ends with 74 and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.store.migrate import migrate
from tests.support.pgbouncer import pooled
from tests.support.postgres import Cluster
from tests.support.process import Installation, configuration

NOWHERE = "http://127.0.0.1:9/api"


@pytest.mark.parametrize(
    "command", [("check",), ("backfill", "--start", "2024-01-01", "--end", "2024-01-02"), ("run",), ("run", "--once")]
)
def test_a_pool_in_transaction_mode_is_refused(
    postgres: Cluster, postgres_url: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    migrate(postgres_url)
    with pooled(postgres, postgres_url, "transaction") as url:
        tables = configuration(NOWHERE, url, start="2024-01-01") | {"daemon": {"listen": ""}}
        ended = Installation(tmp_path, tables).run(*command)
    assert ended.code == 74
    (line,) = [line for line in (ended.err + ended.out).splitlines() if "pool_mode = session" in line]
    assert "Traceback" not in ended.err
    assert "in transaction or statement mode" in line
