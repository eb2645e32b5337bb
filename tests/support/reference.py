"""Generator of docs/reference.md and of the comments in config.example.toml, run by `make reference`.

Commands and options come from click, settings from the metadata of their fields, exit codes and events from their
enumerations. A test fails if a committed file differs from what this module writes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import click

from harvester.cli import harvester
from harvester.config import Account, Api, Daemon, Database, Log, PasswordSources, Phone, ProcessApi, Quota
from harvester.config.sections import DEFAULT_DATABASE
from harvester.config.setting_info import infos, texts
from harvester.errors import PRECEDENCE, ExitCode
from harvester.events import Event

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference.md"
EXAMPLE = ROOT / "config.example.toml"
_COMMENT_WIDTH = 118  # characters, after "# "
_TABLE = re.compile(r"(?:# )?\[([a-z.]+)\]")
_KEY = re.compile(r"(?:# )?([a-z_]+) = ")
_ACCOUNT = "accounts.NAME"
_REQUIRED = {item.name for item in fields(Account) if item.default is MISSING}

SECTIONS = {
    "database": (Database(url=DEFAULT_DATABASE.replace("///", "////")),),
    "api": (Api(), ProcessApi()),
    "quota": (Quota(),),
    "daemon": (Daemon(),),
    "log": (Log(),),
    _ACCOUNT: (Account(name="name", login="login", phones=(Phone("ALL"),)),),
}

_HEAD = """\
# Reference

`make reference` writes this page from the program itself; a test compares the two. [README](../README.md) and
[operations.md](operations.md) explain how to use what is listed here.

## Commands

`harvester [OPTIONS] COMMAND [OPTIONS]`. Every command but `simulate` also takes these options after its
name:
"""

_SETTINGS = """
## Settings

The configuration is one TOML file, or the environment alone: each key has a variable that takes precedence, upper
case, with two underscores between tables. `[api] timeout` is `HARVESTER_API__TIMEOUT`, and `login` of the account
`main` is `HARVESTER_ACCOUNTS__MAIN__LOGIN`; lists are separated by commas. `harvester init` writes
[config.example.toml](../config.example.toml), which shows every key.

Scope: an **account** may have its own value in `[accounts.NAME]`, `[accounts.NAME.api]` and `[accounts.NAME.quota]`;
`[defaults]`, `[defaults.api]` and `[defaults.quota]` apply to all accounts without one. A value of the **process** is
set in its table alone. Reload: on SIGHUP a running daemon applies **live** keys; of a changed **restart** key it keeps
the old value and logs `restart_needed`, at each reload until it is restarted or the key is set back.
"""

_EXIT_CODES = f"""
## Exit codes

With several accounts, the exit code is the first that applies of {", ".join(str(code.value) for code in PRECEDENCE)}.
"""

_EVENTS = """
## Log events

`level` is the severity at which the event is logged.
"""


def reference() -> str:
    """Return the text of reference.md."""
    return "\n".join([*_commands(), *_settings(), *_exit_codes(), *_events()]) + "\n"


def example(text: str) -> str:
    """Return an example configuration in which the comment of each key is the description of its setting.

    The comment of a key is the block of comment lines directly above it. Everything else stays as it is.
    """
    lines: list[str] = []
    described: dict[str, str] = {}
    for line in text.splitlines():
        if table := _TABLE.fullmatch(line):
            described = dict(_descriptions(table[1]))
        elif (key := _KEY.match(line)) and key[1] in described:
            while lines and lines[-1].startswith("#") and not (_KEY.match(lines[-1]) or _TABLE.fullmatch(lines[-1])):
                lines.pop()
            lines += textwrap.wrap(
                described[key[1]],
                _COMMENT_WIDTH + 2,
                initial_indent="# ",
                subsequent_indent="# ",
                break_long_words=False,
            )
        lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both files."""
    REFERENCE.write_text(reference(), encoding="utf-8")
    EXAMPLE.write_text(example(EXAMPLE.read_text(encoding="utf-8")), encoding="utf-8")


def _descriptions(table: str) -> Iterator[tuple[str, str]]:
    name = _ACCOUNT if table in {"defaults", "accounts.main"} else table
    for section in SECTIONS.get(name, ()):
        yield from texts(type(section)).items()


def _commands() -> Iterator[str]:
    context = click.Context(harvester, info_name="harvester", **harvester.context_settings)
    yield _HEAD
    yield from _rows(("option", "meaning"), _options(harvester, context))
    common = {parameter.name for parameter in harvester.get_params(context)}
    for name in harvester.list_commands(context):
        command = harvester.commands[name]
        own = click.Context(command, info_name=name, parent=context, **command.context_settings)
        yield f"\n### {own.command_path}\n"
        usage = " ".join([own.command_path, *command.collect_usage_pieces(own)])
        yield f"`{usage}`\n"
        yield "\n\n".join(" ".join(each.split()) for each in (command.help or "").split("\n\n"))
        rows = list(_options(command, own, common))
        if rows:
            yield ""
            yield from _rows(("option", "meaning"), rows)


def _options(command: click.Command, context: click.Context, common: Iterable[str | None] = ()) -> Iterator[list[str]]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record and parameter.name not in common:
            names, meaning = record
            yield [f"`{names}`", " ".join(meaning.split())]


def _settings() -> Iterator[str]:
    yield _SETTINGS
    for table, sections in SECTIONS.items():
        yield f"### [{table}]\n"
        if table == _ACCOUNT:
            yield f"NAME: {texts(Account)['name']}\n"
        yield from _rows(("key", "default", "scope", "reload", "meaning"), _keys(sections))
        yield ""


def _keys(sections: Iterable[object]) -> Iterator[list[str]]:
    for section in sections:
        described = texts(type(section))
        for name, info in infos(type(section)).items():
            for key in (name, *info.more):
                if key != "name":
                    default = _default(section, key) if key == name else ""
                    yield [f"`{key}`", default, info.scope, info.reload, described[key]]


def _default(section: object, name: str) -> str:
    """Return the default of a field as TOML writes it; nothing if there is none."""
    value: object = DEFAULT_DATABASE if name == "url" else getattr(section, name)
    if isinstance(section, Account) and name in _REQUIRED:
        return "required"
    if value is None or isinstance(value, PasswordSources):
        return ""
    if isinstance(value, bool | int | float):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple) and type(value) is tuple:
        items = ", ".join(f'"{item}"' for item in value)
        return f"`[{items}]`"
    return f'`"{value}"`'


def _exit_codes() -> Iterator[str]:
    yield _EXIT_CODES
    yield from _rows(("code", "meaning"), ([str(code.value), code.meaning] for code in ExitCode))


def _events() -> Iterator[str]:
    yield _EVENTS
    yield from _rows(("event", "level", "meaning"), ([f"`{event}`", event.level, event.meaning] for event in Event))


def _rows(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    columns = list(head)
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


if __name__ == "__main__":
    main()
