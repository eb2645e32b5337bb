"""What all commands have in common: their shared options, their way from a configuration to an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from harvester.errors import ExitCode, HarvesterError

if TYPE_CHECKING:
    from pathlib import Path

    from harvester.config import Settings

Command = Callable[..., None]

NOBODY_READS = 141  # as a shell tells of SIGPIPE


@dataclass(slots=True)
class Invocation:
    """The options that may stand before or after the command."""

    config: Path | None = None
    verbose: int = 0
    quiet: int = 0


@dataclass(frozen=True, slots=True)
class Filters:
    """What of the configuration a command shall look at; empty: all."""

    accounts: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    periods: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.accounts or self.phones or self.resources or self.periods)


def common(command: Command) -> Command:
    """Give a command --config, -v and -q, and as its first argument the Invocation."""

    @click.option("--config", type=click.Path(), help="The configuration file.")
    @click.option("-v", "--verbose", count=True, help="Say more.")
    @click.option("-q", "--quiet", count=True, help="Say less.")
    @click.pass_context
    @functools.wraps(command)
    def wrapped(
        context: click.Context,
        /,
        *args: Any,  # noqa: ANN401 - passed on
        config: str | None,
        verbose: int,
        quiet: int,
        **options: Any,  # noqa: ANN401 - passed on
    ) -> None:
        from pathlib import Path

        invocation = context.ensure_object(Invocation)
        invocation.config = Path(config) if config else invocation.config
        invocation.verbose += verbose
        invocation.quiet += quiet
        try:
            command(invocation, *args, **options)
            sys.stdout.flush()
        except BrokenPipeError:  # click would leave 1 for it
            leave_unread()

    return wrapped


def leave_unread() -> NoReturn:
    """End quietly: whoever read our output has gone. What is still buffered must not raise again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(NOBODY_READS)


def filtered(command: Command) -> Command:
    """Give a command the filters; it gets them as the argument `filters`."""

    @click.option("--account", "accounts", multiple=True, metavar="NAME", help="Only this account; repeatable.")
    @click.option("--phone", "phones", multiple=True, metavar="NUMBER", help="Only this number, or ALL; repeatable.")
    @click.option("--resource", "resources", multiple=True, metavar="NAME", help="Only this resource; repeatable.")
    @click.option("--period", "periods", multiple=True, metavar="NAME", help="Only day, week or month; repeatable.")
    @functools.wraps(command)
    def wrapped(
        *args: Any,  # noqa: ANN401 - passed on
        accounts: tuple[str, ...],
        phones: tuple[str, ...],
        resources: tuple[str, ...],
        periods: tuple[str, ...],
        **options: Any,  # noqa: ANN401 - passed on
    ) -> None:
        command(*args, filters=Filters(accounts, phones, resources, periods), **options)

    return wrapped


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def load_settings(invocation: Invocation, filters: Filters | None = None) -> Settings:
    """The configuration, narrowed by the filters; its warnings go to stderr.

    Raises:
        ConfigError: it cannot be used.
        UsageError: a filter names what is not configured.
    """
    from pathlib import Path

    from harvester import config

    settings = config.load(invocation.config, os.environ, cwd=Path.cwd(), home=Path.home())
    warn(config.warnings(settings), invocation)
    if filters:
        settings = config.narrow(
            settings,
            accounts=filters.accounts,
            phones=filters.phones,
            resources=filters.resources,
            periods=filters.periods,
        )
    return settings


def warn(lines: list[str], invocation: Invocation) -> None:
    """Tell what is not an error."""
    if not invocation.quiet:
        for line in lines:
            click.echo(f"warning: {line}", err=True)


def emit_json(result: Mapping[str, Any]) -> None:
    """Print the one object."""
    import json

    click.echo(json.dumps(result, ensure_ascii=False))


def complain(error: Exception, about: str | None = None) -> None:
    """Say plainly on stderr what went wrong, and with which account; a bug with its traceback."""
    if isinstance(error, HarvesterError):
        for line in str(error).splitlines() or [type(error).__name__]:
            click.echo(f"harvester: {about}: {line}" if about else f"harvester: {line}", err=True)
        return
    import traceback

    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    click.echo("harvester: this is a bug; please report it with the lines above.", err=True)


def leave(error: Exception) -> NoReturn:
    """End the process as the error says."""
    complain(error)
    sys.exit(error.exit_code if isinstance(error, HarvesterError) else ExitCode.BUG)
