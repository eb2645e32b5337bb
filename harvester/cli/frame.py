"""Parts shared by all commands: options, loading of the configuration, printing of warnings, errors and JSON."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from harvester.errors import ExitCode, HarvesterError

if TYPE_CHECKING:
    from pathlib import Path

    from harvester.config import Settings

Command = Callable[..., None]

BROKEN_PIPE_CODE = 141  # the exit code that a shell reports for SIGPIPE


@dataclass(slots=True)
class Invocation:
    """Options that may stand before or after the command."""

    config: Path | None = None
    verbose: int = 0
    quiet: int = 0


@dataclass(frozen=True, slots=True)
class Filters:
    """Parts of the configuration that a command works on; empty means all."""

    accounts: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    periods: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.accounts or self.phones or self.resources or self.periods)


def common(command: Command) -> Command:
    """Return the command with the options --config, -v and -q; its first argument is then the Invocation."""

    @click.option("--config", type=click.Path(), metavar="FILE", help="Configuration file.")
    @click.option("-v", "--verbose", count=True, help="Print and log more; repeatable.")
    @click.option("-q", "--quiet", count=True, help="Print and log less: no progress, no warnings; repeatable.")
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
        except BrokenPipeError:  # click would exit with 1
            exit_after_broken_pipe()

    return wrapped


def exit_after_broken_pipe() -> NoReturn:
    """Exit without a message after the reader of stdout has gone; buffered output must not raise again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(BROKEN_PIPE_CODE)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt the block as Ctrl-C does, so that it cleans up, and the first of them alone.

    A signal that is ignored, as under nohup, stays ignored.
    """
    import signal

    numbers = [
        each for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN
    ]

    def interrupt(number: int, frame: object) -> NoReturn:
        del number, frame
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)  # the cleaning up is short
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in numbers}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def filtered(command: Command) -> Command:
    """Return the command with the filter options; it receives them as the argument `filters`."""

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


def current_directory() -> Path:
    """Return the current directory; if it was removed, its former path, where no file is found."""
    from pathlib import Path

    try:
        return Path.cwd()
    except OSError:
        return Path(os.environ.get("PWD") or "/")


def home_directory() -> Path:
    """Return the user's home directory; "/" for a user without one, as in a container."""
    from pathlib import Path

    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def load_settings(invocation: Invocation, filters: Filters | None = None) -> Settings:
    """Return the configuration, narrowed by the filters; its warnings go to stderr.

    Raises:
        ConfigError: the configuration is missing or invalid.
        UsageError: a filter names something that is not configured.
    """
    from harvester import config

    settings = config.load(invocation.config, os.environ, cwd=current_directory(), home=home_directory())
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
    """Print warnings on stderr, unless -q was given."""
    if not invocation.quiet:
        for line in lines:
            click.echo(f"warning: {line}", err=True)


def emit_json(result: Mapping[str, Any]) -> None:
    """Print the result of `--json`."""
    import json

    click.echo(json.dumps(result, ensure_ascii=False))


def print_error(error: Exception, about: str | None = None) -> None:
    """Print an error on stderr, and the account that it is about; a bug with its traceback."""
    if isinstance(error, HarvesterError):
        for line in str(error).splitlines() or [type(error).__name__]:
            click.echo(f"harvester: {about}: {line}" if about else f"harvester: {line}", err=True)
        return
    import traceback

    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    click.echo("harvester: this is a bug; please report it with the lines above.", err=True)


def exit_with(error: Exception) -> NoReturn:
    """Print the error and exit with its code."""
    print_error(error)
    sys.exit(error.exit_code if isinstance(error, HarvesterError) else ExitCode.BUG)
