"""Runs the harvesting commands from valid settings to an exit code: logs, progress, signals, result."""

from __future__ import annotations

import asyncio
import os
import sys
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
    """Harvest, and return the exit code.

    Args:
        settings: narrowed to what shall be harvested.
        request: which days.
        verbose: how often -v was given.
        quiet: how often -q was given.
        show: prints the result; `error` is what ended all of it.
    """
    config.require_accounts(settings)
    return _harvest(settings, lambda _: request, verbose=verbose, quiet=quiet, show=show)


def once(
    settings: Settings, *, verbose: int, quiet: int, show: Callable[[BackfillResult, Exception | None], None]
) -> int:
    """One round of the daemon's, as a backfill from each account's start; parameters as there."""
    from harvester.daemon.service import require_starts

    config.require_accounts(settings)
    require_starts(settings)

    def request_of(account: Account) -> BackfillRequest:
        return BackfillRequest(days=lambda today: (account.start or today, today))

    return _harvest(settings, request_of, verbose=verbose, quiet=quiet, show=show)


def serve(settings: Settings, load: Callable[[], Settings], *, verbose: int, quiet: int) -> int:
    """Run the daemon until it is told to end; returns the exit code.

    Args:
        settings: narrowed to what shall be kept.
        load: reads the same anew.
        verbose: how often -v was given.
        quiet: how often -q was given.

    Raises:
        HarvesterError: it could not begin, or the database is none of ours.
    """
    from harvester.daemon.service import Service, require_starts

    def load_whole() -> Settings:
        found = load()
        config.require_accounts(found)
        require_starts(found)
        for name in found.accounts:
            config.password(name, found, os.environ)
        return found

    config.require_accounts(settings)
    require_starts(settings)
    logs.set_up(settings.log, verbose=verbose, quiet=quiet)
    service = Service(settings, environ=os.environ, load=load_whole, emit=logs.RateLimitedLogger(logs.observer()))
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
    display = display_for(sys.stderr, quiet=bool(quiet), environ=os.environ, clock=SystemClock())
    work = Backfill(settings, request_of, environ=os.environ, emit=logs.observer(), display=display)

    def leave_at_once() -> NoReturn:
        # What is in flight is let go of: a transaction that is not committed is rolled back by the database.
        error = Interrupted()
        show(work.result_so_far(error), error)
        sys.stdout.flush()
        os._exit(ExitCode.INTERRUPTED)

    try:
        result = asyncio.run(work.run(leave_at_once))
    except HarvesterError as error:
        show(work.result_so_far(error), error)
        return error.exit_code
    show(result, decisive_error(result.outcomes))
    return exit_code(outcome.exit_code for outcome in result.outcomes)
