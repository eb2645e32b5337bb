"""`harvester init`: write a commented configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from harvester.cli.frame import Invocation, common
from harvester.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_TEMPLATE = "config.example.toml"
_DEFAULT = "config.toml"
_OWNER_ONLY = 0o600  # it will contain a password or name a command to run


@click.command()
@click.argument("name", metavar="[FILE]", type=click.Path(), required=False)
@common
def init(invocation: Invocation, *, name: str | None) -> None:
    """Write a commented configuration. An existing file is never overwritten.

    Writes FILE, else the file given with --config, else ./config.toml.
    """
    from pathlib import Path

    file = Path(name) if name else invocation.config or Path(_DEFAULT)
    content = template()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError:
        raise UsageError(f"{file} exists and was not changed: give another name") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be written: {_reason(error)}") from None
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
    except OSError as error:
        file.unlink(missing_ok=True)  # an incomplete file would make the next attempt fail
        raise UsageError(f"{file} cannot be written: {_reason(error)}") from None
    click.echo(f"Wrote {file}. Fill in [accounts.main], then: harvester{_option(file)} check --online")


def template() -> bytes:
    """Return the example configuration: inside an installed package, beside the package in a checkout."""
    from importlib.resources import files
    from pathlib import Path

    package = files("harvester")
    inside = package / _TEMPLATE
    if inside.is_file():
        return inside.read_bytes()
    return (Path(str(package)).parent / _TEMPLATE).read_bytes()


def _option(file: Path) -> str:
    return "" if str(file) == _DEFAULT else f" --config {file}"


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "invalid file name"
