"""The wheel works without the checkout: migrations, configuration, commands."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from zipfile import ZipFile

import pytest

from harvester import __version__
from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.databases import query
from tests.support.process import Installation, configuration
from tests.support.simulation import serving_in_thread
from tests.support.truth import Wanted, assert_harvested

ROOT = Path(__file__).parents[2]
PHONE = "8005550100"
YEAR = (date(2024, 1, 1), date(2024, 12, 31))


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without this checkout in its environment and return its stdout."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HARVESTER_"))}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def contents(wheel: Path) -> Mapping[str, bytes]:
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel built as by `pip install .`, with the installed build tools."""
    out = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check")
    run(*pip, "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of an environment with the wheel and the dependencies of this one."""
    home = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    interpreter = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--no-index", "--no-deps", wheel, cwd=home)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    # A path in a .pth file is searched last, and .pth files in it are ignored, including that of this checkout.
    (Path(run(interpreter, "-c", code, cwd=home).strip()) / "dependencies.pth").write_text(
        sysconfig.get_path("purelib")
    )
    return interpreter


def command_of(python: Path) -> str:
    return str(python.with_name("harvester"))


def test_it_contains_the_package_the_migrations_and_the_licence_and_nothing_else(wheel: Path) -> None:
    names = contents(wheel).keys()
    package = {name for name in names if name.startswith("harvester/")}
    extra = {name.partition("/")[2] for name in names - package}

    assert {name for name in names - package if ".dist-info/" not in name} == set()
    assert extra == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    own = {str(path.relative_to(ROOT)) for path in (ROOT / "harvester").rglob("*") if path.is_file()}
    migrations = {f"harvester/{path.relative_to(ROOT)}" for path in (ROOT / "migrations").rglob("*") if path.is_file()}
    wanted = own | migrations | {"harvester/config.example.toml"}
    assert package == {name for name in wanted if "__pycache__" not in name}
    assert {"harvester/py.typed", "harvester/migrations/env.py"} <= package


def test_the_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    (again,) = tmp_path.glob("*.whl")
    assert contents(again) == contents(wheel)
    assert (tmp_path / f"voicetrends_harvester-{__version__}.tar.gz").is_file()


def test_the_commands_come_from_the_wheel(python: Path, tmp_path: Path) -> None:
    code = "import harvester; print(harvester.__file__)"
    assert Path(run(python, "-c", code, cwd=tmp_path).strip()).is_relative_to(python.parents[1])
    for command in ((command_of(python),), (python, "-m", "harvester")):
        assert run(*command, "--version", cwd=tmp_path).split()[-1] == __version__


def test_init_writes_the_example(python: Path, tmp_path: Path) -> None:
    run(command_of(python), "init", cwd=tmp_path)
    assert (tmp_path / "config.toml").read_bytes() == (ROOT / "config.example.toml").read_bytes()


def test_migrate_and_backfill_store_the_served_values(python: Path, tmp_path: Path, store_url: str) -> None:
    world = World()
    api = SimulatedApi([Account(world=world)], Options(limit=100))
    with serving_in_thread(api) as url:
        tables = configuration(url, store_url, database={"auto_migrate": False}, phones=[PHONE])
        installation = Installation(tmp_path, tables, command=(command_of(python),))
        migrated = installation.run("migrate")
        again = installation.run("migrate")
        backfilled = installation.run(
            "backfill", "--start", YEAR[0].isoformat(), "--end", YEAR[1].isoformat(), "--json"
        )

    assert (migrated.code, again.code, backfilled.code) == (0, 0, 0)
    assert "migrated from nothing" in migrated.out
    assert "already" in again.out
    assert backfilled.result["requests"] == 1
    assert query(store_url, "SELECT count(*) FROM performance_day WHERE complete") == [(366,)]
    assert_harvested(store_url, Wanted(*YEAR, (Period.DAY,), (PHONE,), world=world))
