"""docs/benchmarks.md: a chapter per measurement, its docstring above its table.

Running one measurement replaces its chapter and leaves the others as they are.
"""

from __future__ import annotations

import inspect
import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from bench.table import HEADINGS, Row

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Written by `make bench`. A time on one machine says little about another, so each has a reference that ran in the same
minute, and the ratio is the result. "At most" is the project's goal; nothing fails when it is missed.
"""
_CHAPTER = re.compile(r"^## (\w+)\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def write(chapters: Sequence[tuple[str, ModuleType, Sequence[Row]]], *, whole: bool) -> None:
    """Replace the measured chapters; with `whole` remove all others."""
    known = {} if whole or not PAGE.exists() else {found[1]: found[0] for found in _CHAPTER.finditer(PAGE.read_text())}
    known |= {name: _chapter(name, inspect.getdoc(module) or "", rows) for name, module, rows in chapters}
    PAGE.write_text("\n".join([HEAD, *(text.rstrip() + "\n" for text in known.values())]))


def _chapter(name: str, theory: str, rows: Sequence[Row]) -> str:
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    lines = [f"## {name}", "", theory, "", "| " + " | ".join(HEADINGS) + " |", "| --- |" + " ---: |" * 4 + " --- |"]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join([*lines, "", f"{datetime.now(UTC):%Y-%m-%d}; {where}.", ""])
