"""The harvester as its users run it: a process of its own, a configuration file, a clean environment.

Its output goes to files, so that nothing blocks on a full pipe and a test may read it while the process runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import signal

Tables = dict[str, dict[str, Any]]

OUR_OWN = (sys.executable, "-m", "harvester")
PATIENCE = 60.0  # seconds that a test waits for anything before it fails
_LOOK_EVERY = 0.005
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """What --json printed: exactly one object, and nothing else on stdout."""
        result = json.loads(self.out)
        assert isinstance(result, dict)
        return result


class Running:
    """A process that has been started."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self._process = process
        self._out = out
        self._err = err

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def out(self) -> str:
        """What it has written to stdout until now."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it has written to stderr until now."""
        return self._err.read_text()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that this process brings about; it must not end before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert not self.has_ended, f"ended with {self._process.returncode} before: {self.err}"
            assert time.monotonic() < deadline, f"waited in vain: {self.err}"
            time.sleep(_LOOK_EVERY)

    def ended(self, within: float = PATIENCE) -> Ended:
        """Wait for its end."""
        code = self._process.wait(within)
        return Ended(code, self._out.read_text(), self._err.read_text())

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        self._process.kill()
        self._process.wait(PATIENCE)


class Installation:
    """A home directory with a configuration, and what is run there.

    Args:
        home: an empty directory.
        tables: the configuration; a name with dots is a nested table.
        command: how the harvester is started, if not from the environment of the tests.
    """

    def __init__(self, home: Path, tables: Mapping[str, Mapping[str, Any]], command: Sequence[str] = OUR_OWN) -> None:
        self.home = home
        self._command = command
        self._tables = {name: dict(table) for name, table in tables.items()}
        self._started = 0
        self.configure()

    def configure(self, table: str = "api", **settings: Any) -> None:
        """Change settings of one table, and write the configuration."""
        self._tables.setdefault(table, {}).update(settings)
        path = self.home / "config.toml"
        path.write_text(toml(self._tables))
        path.chmod(0o600)

    def run(self, *arguments: str, within: float = PATIENCE, **environ: str) -> Ended:
        """Run a command to its end."""
        with self.started(*arguments, **environ) as running:
            return running.ended(within)

    @contextmanager
    def started(self, *arguments: str, **environ: str) -> Iterator[Running]:
        """Run a command in the background; whatever is left of it is killed."""
        self._started += 1
        out, err = (self.home / f"{name}.{self._started}" for name in ("stdout", "stderr"))
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [*self._command, *arguments],
                cwd=self.home,
                env=self._environment() | environ,
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
            )
        running = Running(process, out, err)
        try:
            yield running
        finally:
            running.kill()

    def _environment(self) -> dict[str, str]:
        environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.home), "LANG": "C.UTF-8"}
        # The checkout that holds this file is the one to be tested, whichever one the environment was made for.
        return environ | ({"PYTHONPATH": str(CHECKOUT)} if self._command == OUR_OWN else {})


def configuration(
    base_url: str,
    database_url: str,
    *,
    limit: int = 1000,
    window: int = 900,
    api: Mapping[str, Any] | None = None,
    database: Mapping[str, Any] | None = None,
    accounts: Mapping[str, Mapping[str, Any]] | None = None,
    **account: Any,
) -> Tables:
    """A configuration for a simulator, in a hurry.

    `api` and `database` add to their tables; `account` changes the simulator's default account, `accounts` replaces
    it by several.
    """
    main = {"tool": "fuseplus", "login": "demo@example.com", "password": "demo", "phones": ["8005550000"]}
    tables: Tables = {
        "database": {"url": database_url, "auto_migrate": True, **(database or {})},
        "api": {"base_url": base_url, "max_rate": 500.0, **(api or {})},
        "quota": {"limit": limit, "window": window},
    }
    for name, settings in (accounts or {"main": account}).items():
        merged = {**main, **settings}
        tables[f"accounts.{name}"] = {key: value for key, value in merged.items() if value is not None}
    return tables


def toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Flat tables as TOML: of strings, numbers, booleans and lists of strings, JSON's spelling is TOML's too."""
    return "\n".join(
        "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""])
        for name, table in tables.items()
    )
