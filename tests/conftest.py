"""Databases to test with: SQLite files and a private PostgreSQL, each test with an empty one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:  # else each process of a parallel run imports the drivers, also where no test needs them
    from tests.support.postgres import Cluster

# `make test` tries each property with a quarter of the examples that `make prove` uses: all of them take most of the
# time of the fast tests. `pytest --hypothesis-profile thorough` selects the full number. Neither profile has a
# deadline: on a busy machine an example takes as long as it takes.
settings.register_profile("thorough", settings(deadline=None, max_examples=100))
settings.register_profile("quick", settings(deadline=None, max_examples=25))
settings.load_profile("quick")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server, started once, when the first test asks for it."""
    from tests.support.postgres import running_cluster

    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres: Cluster) -> Iterator[str]:
    """An empty PostgreSQL database."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Where an SQLite database is to be."""
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """An empty database, once of each kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url
