"""Backfills as whole processes against a simulator with prepared answers, and the cost of each.

A path that was requested before is answered with the same bytes at once, so that after one unmeasured run the figures
concern the harvester and not the simulation's arithmetic. The simulator runs in this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from tests.support.postgres import Cluster, running_cluster
from tests.support.process import CHECKOUT, configuration, toml
from tests.support.simulation import serving_in_thread

if TYPE_CHECKING:
    from harvester.simulator.request import Exchange

ENDLESS = 1_000_000  # requests per window
YEAR = ("--start", "2024-01-01", "--end", "2024-12-31")
HARVESTER = (sys.executable, "-m", "harvester")


class RehearsedApi(SimulatedApi):
    """A simulator that repeats the bytes of its first answer."""

    def __init__(self, options: Options) -> None:
        super().__init__([Account()], options)
        self._known: dict[tuple[str, str], bytes] = {}

    def _figures(self, exchange: Exchange, account: Account | None, at: float) -> bytes:
        key = (exchange.key[0], exchange.request.headers.get("accept", ""))
        if key not in self._known:
            self._known[key] = super()._figures(exchange, account, at)
        return self._known[key]


@dataclass(frozen=True, slots=True)
class Run:
    """The cost and the output of a process."""

    seconds: float
    cpu: float  # seconds, user and system
    megabytes: float  # peak resident memory
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """The object that --json printed."""
        result: dict[str, Any] = json.loads(self.out)
        return result


def run(command: Sequence[str], home: Path, **environ: str) -> Run:
    """Run a command to its end; exit if it fails."""
    spent = home / "spent.json"
    with (home / "out").open("wb") as out, (home / "err").open("wb") as err:
        ended = subprocess.run(
            [sys.executable, "-S", str(CHECKOUT / "bench" / "spent.py"), str(spent), *command],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)} | environ,
            check=False,
        )
    if ended.returncode:
        raise SystemExit(f"bench: {command} left {ended.returncode}\n{(home / 'err').read_text()[-2000:]}")
    return Run(**json.loads(spent.read_text()), out=(home / "out").read_text(), err=(home / "err").read_text())


class Ground:
    """A server with a practically unlimited quota, a directory, and databases. A context manager."""

    def __init__(self, phones: int, options: Options | None = None) -> None:
        self.phones = [f"8005{number:06}" for number in range(phones)]
        self._options = options or Options(limit=ENDLESS, auth_limit=ENDLESS, journal_size=0)
        self._stack = ExitStack()
        self._cluster: Cluster | None = None
        self._database = ExitStack()
        self._made = 0

    def __enter__(self) -> Self:
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.url = self._stack.enter_context(serving_in_thread(RehearsedApi(self._options)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def file(self) -> Path:
        """Return the path of a database that does not exist yet."""
        self._made += 1
        return self.directory / f"{self._made}.db"

    def postgres(self) -> str:
        """Return the URL of a new, empty database of a private cluster; the one before is dropped.

        Otherwise the server would clean up after one run while the next one is measured.
        """
        if self._cluster is None:
            self._cluster = self._stack.enter_context(running_cluster())
            self._stack.push(self._database)
        self._database.close()
        self._cluster.execute("CHECKPOINT")
        return self._database.enter_context(self._cluster.database())

    def configure(self, database: str, **api: object) -> None:
        """Write the configuration for the next runs."""
        settings: dict[str, object] = {"max_rate": 100_000.0, "max_days_per_request": 366, **api}
        tables = configuration(self.url, database, limit=ENDLESS, api=settings, phones=self.phones)
        path = self.directory / "config.toml"
        path.write_text(toml(tables))
        path.chmod(0o600)

    def backfill(self, *arguments: str, command: Sequence[str] = HARVESTER) -> Run:
        """Backfill a year of days of every phone."""
        return run([*command, "backfill", *YEAR, "--json", *arguments], self.directory)

    def fetch(self, days: int) -> Run:
        """Fetch the same answers and discard them: the cost of the requests alone."""
        return run([sys.executable, "-m", "bench.fetching", self.url, str(days), *self.phones], self.directory)

    def harvest(self, database: str, *arguments: str, **api: object) -> Run:
        """Configure, then backfill."""
        self.configure(database, **api)
        return self.backfill(*arguments)


@contextmanager
def rehearsed(phones: int, *widths: int) -> Iterator[Ground]:
    """Provide a ground whose server has its answers prepared for ranges of these widths, in days."""
    with Ground(phones) as ground:
        for width in widths:
            ground.harvest(f"sqlite:///{ground.file()}", max_days_per_request=width)
        yield ground
