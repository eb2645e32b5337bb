"""Rules for the code as a whole: short files and functions, plain language, declared and pinned dependencies."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.prose import literary_words, nodes, question_openings

ROOT = Path(__file__).parents[2]
FILE_LINES = 400
FUNCTION_LINES = 50
PRODUCT = sorted(path for top in ("harvester", "migrations") for path in (ROOT / top).rglob("*.py"))
BENCHMARKS = [path for path in sorted((ROOT / "bench").rglob("*.py")) if "peers" not in path.parts]
PROSE = [*PRODUCT, *BENCHMARKS]
UNNAMED = {"tzdata"}  # read by zoneinfo
PART_OF = {"yarl": "aiohttp", "pydantic-core": "pydantic"}  # their types are in the other one's interface


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(path: Path) -> Iterator[str]:
    """The top-level names of all imports, the late ones included."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def declared() -> Iterator[str]:
    """The names of the package's dependencies."""
    for requirement in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        yield re.split(r"[^a-z0-9-]", requirement)[0]


def test_files_are_short() -> None:
    paths = [*PRODUCT, *(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_bytes().splitlines()) for path in paths}
    assert len(lines) > 100
    assert {name: count for name, count in lines.items() if count > FILE_LINES} == {}


def test_functions_are_short() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in PRODUCT
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno + 1 > FUNCTION_LINES
    }
    assert long == set()


def test_no_text_contains_a_literary_word() -> None:
    """One line per word: file, line, word. Write a plain one instead (CONTRIBUTING.md, Style)."""
    assert [f"{path.relative_to(ROOT)}:{found}" for path in PROSE for found in literary_words(path)] == []


def test_no_docstring_opens_with_a_question_word() -> None:
    assert [f"{path.relative_to(ROOT)}:{found}" for path in PROSE for found in question_openings(path)] == []


def test_the_rules_for_texts_find_what_they_forbid(tmp_path: Path) -> None:
    file = tmp_path / "prose.py"
    file.write_text(
        '"""How it works.\n\nIt is mended.\n"""\n\n# nobody knows\nNAME = "told"\n'
        'TEXT = f"start {NAME} and read the file anew"\nSIZE = 3\n"""Whole words, fares included."""\n'
    )
    assert list(literary_words(file)) == ["3 mended", "10 fares", "8 anew", "6 nobody"]
    assert list(question_openings(file)) == ["1 How it works."]


def test_what_is_imported_is_what_is_declared() -> None:
    distributions = packages_distributions()
    used = {
        PART_OF.get(name := re.sub(r"[-_.]+", "-", distribution).lower(), name)
        for path in PRODUCT
        for module in imported(path)
        if module not in sys.stdlib_module_names and module != "harvester"
        for distribution in distributions[module]
    }
    assert used | UNNAMED == set(declared())


def test_what_is_pinned_is_what_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = (ROOT / "requirements" / "runtime.in").read_text().splitlines()
    required = [line for line in wanted if line and not line.startswith("#")]
    builders = {"editables", "hatchling"}
    assert sorted(line for line in required if line not in builders) == sorted(project["project"]["dependencies"])
    assert [re.split(r"[^a-z]", tool)[0] for tool in project["build-system"]["requires"]] == ["hatchling"]


@pytest.mark.parametrize(("name", "least"), [("runtime", 20), ("dev", 40), ("fuzz", 2)])
def test_requirements_are_pinned_hashed_and_name_no_place(name: str, least: int) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) >= least
    for line in lines:
        assert re.match(r"[a-z0-9_.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line
    assert "://" not in text
