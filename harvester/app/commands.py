"""Runs the harvesting commands from valid settings to an exit code: logs, progress, signals, result."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from harvester import config
from harvester.app import logs
from harvester.app.backfill import Backfill
from harvester.app.outcome import INTERRUPTED, exit_code, gravest
from harvester.app.progress import display_for
from harvester.clock import SystemClock
from harvester.errors import HarvesterError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from harvester.app.account import Order
    from harvester.app.backfill import Result
    from harvester.config import Settings


def backfill(
    settings: Settings, order: Order, *, verbose: int, quiet: int, show: Callable[[Result, Exception | None], None]
) -> int:
    """Harvest, and return the exit code.

    Args:
        settings: narrowed to what shall be harvested.
        order: which days.
        verbose: how often -v was given.
        quiet: how often -q was given.
        show: prints the result; `error` is what ended all of it.
    """
    config.require_accounts(settings)
    logs.set_up(settings.log, verbose=verbose, quiet=quiet)
    display = display_for(sys.stderr, quiet=bool(quiet), environ=os.environ, clock=SystemClock())
    work = Backfill(settings, order, environ=os.environ, tell=logs.observer(), display=display)

    def leave_at_once() -> NoReturn:
        # What is in flight is let go of: a transaction that is not committed is rolled back by the database.
        error = Interrupted("at once")
        show(work.so_far(error), error)
        sys.stdout.flush()
        os._exit(INTERRUPTED)

    try:
        result = asyncio.run(work.run(leave_at_once))
    except HarvesterError as error:
        show(work.so_far(error), error)
        return error.exit_code
    show(result, gravest(result.outcomes))
    return exit_code(outcome.exit_code for outcome in result.outcomes)
