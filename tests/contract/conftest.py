"""Databases in the newest schema: these tests are about the store, not about its migrations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import create_migrated
from tests.support.postgres import Cluster


@pytest.fixture
def postgres_url(postgres: Cluster) -> Iterator[str]:
    """A PostgreSQL database without accounts."""
    with postgres.database(postgres.migrated) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite database without accounts."""
    path = tmp_path / "store.db"
    create_migrated(path)
    return f"sqlite:///{path}"
