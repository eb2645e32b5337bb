"""First contact with the checkout and the command: `make`, and the modules that `--help` loads."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"aiohttp", "apscheduler", "asyncio", "logging", "psycopg", "pydantic", "rich", "sqlalchemy", "structlog"}
OWN = {f"harvester.{path.parent.name}" for path in (ROOT / "harvester").glob("*/__init__.py")} - {"harvester.cli"}
LOADED = """
import sys
from harvester.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
OLD_PYTHON = """\
#!/bin/sh
exec '{python}' -c 'import sys; sys.version_info = (3, 9, 18); exec(sys.argv[1])' "$2"
"""


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    if program is None:
        pytest.skip("NO MAKE: install it to run this test")
    # The tests may run under make, whose flags must not reach the make under test.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    return subprocess.run(
        [program, *arguments], cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("arguments", [["--help"], ["backfill", "--help"], ["--version"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOADED, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "harvester" in done.stdout
    loaded = set(done.stderr.split())
    assert "harvester.cli" in loaded
    assert {"harvester.config", "harvester.engine"} <= OWN
    assert loaded & (HEAVY | OWN) == set()


def test_make_lists_its_targets() -> None:
    done = make()
    listed = re.findall(r"^  make (\w+)  +\S", done.stdout, re.MULTILINE)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(listed) >= {"demo", "test", "unit", "check", "format", "reference", "bench", "clean"}
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(listed) <= set(phony[1].split())


def test_make_refuses_an_old_python_before_it_creates_anything(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    python = tmp_path / "python3.9"
    python.write_text(OLD_PYTHON.format(python=sys.executable))
    python.chmod(0o755)

    done = make("demo", f"PYTHON={python}", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stderr.startswith(f"Python 3.11 or newer is needed; {python} is 3.9.")
    assert not (tmp_path / ".venv").exists()
