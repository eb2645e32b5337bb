"""The generated documents: equal to what `make reference` writes, and complete."""

from __future__ import annotations

import pytest

from harvester.cli import harvester
from harvester.config.entries import ANY, KNOWN, leaves
from harvester.errors import ExitCode
from harvester.events import Event
from tests.support.reference import EXAMPLE, REFERENCE, example, reference

REMEDY = "run `make reference` and commit the result"


def test_the_committed_files_are_what_the_program_says() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == reference(), REMEDY
    committed = EXAMPLE.read_text(encoding="utf-8")
    assert committed == example(committed), REMEDY


def test_every_option_has_a_help_text() -> None:
    for name, command in harvester.commands.items():
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or getattr(parameter, "help", None), (name, parameter.name)


def test_the_reference_lists_everything() -> None:
    text = reference()
    for name in harvester.commands:
        assert f"### harvester {name}\n" in text
    for keys in leaves(KNOWN):
        assert ANY in keys or keys[0] == "defaults" or f"| `{keys[-1]}` |" in text
    assert all(f"| {code.value} | {code.meaning} |" in text for code in ExitCode)
    assert all(f"| `{event}` | {event.level} | {event.meaning} |" in text for event in Event)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("[api]\n# old\n# words\nformat = 1\n", True),
        ("[api]\nformat = 1\n", True),
        ("# [api]\n# format = 1\n", True),
        ("[api]\n# a paragraph of its own\n\n# [other]\nformat = 1\n", False),
        ("# unrelated\nformat = 1\n", False),
    ],
)
def test_only_the_comment_of_a_known_key_is_written(text: str, changed: bool) -> None:  # noqa: FBT001 - a case
    comment = '# Format of the answers. Values: "json", "xml".\n'
    lines = text.splitlines(keepends=True)
    wanted = f"{lines[0]}{comment}{lines[-1]}" if changed else text
    assert example(text) == wanted
    assert example(wanted) == wanted
