"""The documents name files, classes and packages that exist, and no document is missing from the index."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from harvester.store.schema import HEAD
from tests.support.prose import LITERARY, nodes, tree

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = sorted((*ROOT.glob("*.md"), *DOCS.glob("*.md")))
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")
BENCHMARKS = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
CHAPTERS = {"peers": "contest"}  # the others have the name of their module
FOREIGN = {"Connection", "Date"}  # SQLAlchemy's class, an HTTP header

LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(  # not NAME.py
    r"(?:(?<=`)(?:harvester|tests|bench|migrations|docs)/[a-z0-9_./]*\w|(?<=`)[a-z0-9_]+\.py|\btest_[a-z0-9_]+\.py)\b"
)
CLASS = re.compile(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)`")


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def classes() -> set[str]:
    files = (ROOT / "harvester").rglob("*.py")
    return {node.name for path in files for node in nodes(path) if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize("document", NAMES)
def test_every_link_leads_somewhere(document: str) -> None:
    path = ROOT / document
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("document", NAMES)
def test_every_file_that_is_named_exists(document: str) -> None:
    known = {path.name for top in ("harvester", "tests", "bench", "migrations") for path in (ROOT / top).rglob("*.py")}
    for name in FILE.findall((ROOT / document).read_text(encoding="utf-8")):
        assert name in known if "/" not in name else (ROOT / name).exists(), name


@pytest.mark.parametrize("document", NAMES)
def test_no_document_contains_a_literary_word(document: str) -> None:
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    assert [f"{number} {found[0]}" for number, line in enumerate(lines, 1) for found in LITERARY.finditer(line)] == []


def test_every_class_of_the_architecture_exists() -> None:
    named = set(CLASS.findall(ARCHITECTURE))
    assert len(named) > 10
    assert named - classes() - FOREIGN == set()


def test_every_package_and_every_module_of_the_core_is_in_the_architecture() -> None:
    named = set(re.findall(r"`(\w+)`", ARCHITECTURE))
    tops = {
        path.stem for path in (ROOT / "harvester").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    core = {path.stem for path in (ROOT / "harvester" / "core").iterdir() if path.stem[0] != "_"}
    assert tops - {"__init__", "__main__"} - named == set()
    assert core - named == set()


def test_every_document_is_in_the_index() -> None:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    linked = {(DOCS / target).resolve() for target in LINK.findall(text)}
    documents = {*DOCUMENTS, *(path for path in DOCS.iterdir() if path.suffix in {".md", ".yml", ".json"})}
    assert documents - linked == {DOCS / "index.md"}


def test_the_sample_of_a_migration_leads_to_the_newest_schema() -> None:
    assert f": migrated from nothing to {HEAD}\n" in (DOCS / "operations.md").read_text(encoding="utf-8")


def test_the_benchmarks_have_the_text_of_their_modules() -> None:
    chapters = re.findall(r"^## (\w+)\n\n(.*?)\n\n\|", BENCHMARKS, re.MULTILINE | re.DOTALL)
    assert len(chapters) > 5
    for name, text in chapters:
        assert text == ast.get_docstring(tree(ROOT / "bench" / f"{CHAPTERS.get(name, name)}.py"))
