"""The enum of events against the code that emits them and the documentation that lists them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from harvester.events import Event
from tests.support.prose import nodes

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs" / "operations.md"


def emitted() -> Iterator[tuple[str, ast.expr]]:
    """The first argument of every call of `emit` or `_emit`, with its place."""
    for path in sorted((ROOT / "harvester").rglob("*.py")):
        for node in nodes(path):
            if isinstance(node, ast.Call) and node.args and called(node.func) in {"emit", "_emit"}:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.args[0]


def called(function: ast.expr) -> str | None:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None


def test_every_event_is_emitted() -> None:
    names = {
        node.attr
        for _, node in emitted()
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Event"
    }
    assert names == set(Event.__members__)


def test_no_event_is_a_bare_string() -> None:
    bare = {place for place, node in emitted() if isinstance(node, ast.Constant | ast.JoinedStr)}
    assert bare == set()


def test_every_event_is_documented() -> None:
    logs = OPERATIONS.read_text().partition("## Logs\n")[2].partition("\n## ")[0]
    table = logs.partition("| event | level | meaning |\n|---|---|---|\n")[2]
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", table, re.MULTILINE)
    assert listed == [(event.value, event.level.value, event.meaning) for event in Event]


def test_a_meaning_is_one_line() -> None:
    for event in Event:
        assert event.meaning.endswith(".")
        assert event.name == event.value.upper()
        assert "|" not in event.meaning
