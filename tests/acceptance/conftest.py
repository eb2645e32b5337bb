"""A simulator, a database and an installation that know each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.support.process import Installation, configuration
from tests.support.simulation import serving_in_thread

if TYPE_CHECKING:
    from harvester.simulator.api import SimulatedApi


class Install(Protocol):
    """Serves an API until the test ends, and configures a harvester for it: `settings` as `configuration` has them."""

    def __call__(self, api: SimulatedApi, database_url: str, /, **settings: Any) -> Installation: ...


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    with ExitStack() as serving:

        def make(api: SimulatedApi, database_url: str, /, **settings: Any) -> Installation:
            settings = {"limit": api.options.limit, "window": api.options.window, **settings}
            url = serving.enter_context(serving_in_thread(api))
            return Installation(tmp_path, configuration(url, database_url, **settings))

        yield make


SLOW = ("test_run_", "test_scale")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs minutes of a quiet machine is for `make prove`."""
    for item in items:
        if item.path.name.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
