"""Execution of `backfill` and `run`, from valid settings to an exit code: logs, progress, signals, result."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from harvester import config
from harvester.backfill.outcome import decisive_error
from harvester.backfill.run import Backfill, BackfillResult
from harvester.clock import SystemClock
from harvester.console import logs
from harvester.console.progress import display_for
from harvester.engine.account_plan import BackfillRequest
from harvester.errors import ExitCode, HarvesterError, Interrupted, exit_code

if TYPE_CHECKING:
    from harvester.config import Account, Settings


def backfill(
    settings: Settings,
    request: BackfillRequest,
    *,
    verbose: int,
    quiet: int,
    show: Callable[[BackfillResult, Exception | None], None],
) -> int:
    """Run a backfill and return its exit code.

    Args:
        settings: narrowed to the series to harvest.
        request: the days to harvest.
        verbose: number of -v options.
        quiet: number of -q options.
        show: prints the result, and the error that ended the whole run, if any.

    Raises:
        ConfigError: no account is configured.
    """
    config.require_accounts(settings)
    return _harvest(settings, lambda _: request, verbose=verbose, quiet=quiet, show=show)


def once(
    settings: Settings, *, verbose: int, quiet: int, show: Callable[[BackfillResult, Exception | None], None]
) -> int:
    """Run one round of the daemon as a backfill from each account's start, and return its exit code.

    The arguments are those of `backfill`.

    Raises:
        ConfigError: no account is configured, or one has no `start`.
    """
    from harvester.daemon.service import require_starts

    config.require_accounts(settings)
    require_starts(settings)

    def request_of(account: Account) -> BackfillRequest:
        return BackfillRequest(days=lambda today: (account.start or today, today), repeat=False)

    return _harvest(settings, request_of, verbose=verbose, quiet=quiet, show=show)


def serve(settings: Settings, load: Callable[[], Settings], *, verbose: int, quiet: int) -> int:
    """Run the daemon until a signal ends it, and return the exit code.

    Args:
        settings: narrowed to the series to keep complete.
        load: reads the configuration again, for SIGHUP.
        verbose: number of -v options.
        quiet: number of -q options.

    Raises:
        HarvesterError: the daemon cannot start, or the database belongs to another program.
    """
    from harvester.daemon.passwords import Loaded
    from harvester.daemon.service import Service, require_starts

    def load_complete(ending: threading.Event) -> Loaded:
        loaded = load()
        config.require_accounts(loaded)
        require_starts(loaded)
        passwords = {name: config.password(name, loaded, os.environ, ending=ending) for name in loaded.accounts}
        return Loaded(loaded, passwords)

    config.require_accounts(settings)
    require_starts(settings)
    logs.set_up(settings.log, verbose=verbose, quiet=quiet)
    emit = logs.RateLimitedLogger(logs.observer())
    logs.take_over_libraries(emit)
    service = Service(settings, environ=os.environ, load=load_complete, emit=emit)
    return asyncio.run(service.run())


def _harvest(
    settings: Settings,
    request_of: Callable[[Account], BackfillRequest],
    *,
    verbose: int,
    quiet: int,
    show: Callable[[BackfillResult, Exception | None], None],
) -> int:
    logs.set_up(settings.log, verbose=verbose, quiet=quiet)
    logs.take_over_libraries(logs.RateLimitedLogger(logs.observer()))
    display = display_for(sys.stderr, quiet=bool(quiet), environ=os.environ, clock=SystemClock())
    work = Backfill(settings, request_of, environ=os.environ, emit=logs.observer(), display=display)

    def exit_at_once() -> NoReturn:
        # Requests in flight are abandoned; the database rolls back a transaction that is not committed.
        error = Interrupted()
        show(work.result_so_far(error), error)
        sys.stdout.flush()
        os._exit(ExitCode.INTERRUPTED)

    try:
        result = asyncio.run(work.run(exit_at_once))
    except HarvesterError as error:
        show(work.result_so_far(error), error)
        return error.exit_code
    show(result, decisive_error(result.outcomes))
    return exit_code(outcome.exit_code for outcome in result.outcomes)
