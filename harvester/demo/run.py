"""The demonstration from its first line to its exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from harvester.backfill.run import Backfill, BackfillResult
from harvester.backfill.summary import summary
from harvester.clock import SystemClock
from harvester.config import Log
from harvester.console import logs
from harvester.console.progress import display_for
from harvester.demo import figures, hints, pictures, setting
from harvester.demo.ownership import refuse_foreign
from harvester.engine.account_plan import BackfillRequest
from harvester.errors import ExitCode, Interrupted, exit_code
from harvester.simulator.server import SimulatorServer

if TYPE_CHECKING:
    from harvester.simulator.api import SimulatedApi

_WEEKS = 7  # in the chart: with its margin it fits a terminal of 60 columns


def run(database: Path, shown_as: str, *, verbose: int, quiet: int, environ: Mapping[str, str]) -> int:
    """Harvest the simulated year into an SQLite file, show it, and return the exit code.

    Args:
        database: the file, absolute; made where missing.
        shown_as: the same as the user wrote it.
        verbose: how often -v was given.
        quiet: how often -q was given.
        environ: what the terminal can do; no setting is read from it.

    Raises:
        HarvesterError: it could not begin.
    """
    refuse_foreign(database)
    logs.set_up(Log(level="warning"), verbose=verbose, quiet=quiet)
    demo = Demo(database, quiet=bool(quiet), environ=environ)
    try:
        code = demo.harvest()
        if not code:
            demo.show(shown_as, sys.stdout)
    except KeyboardInterrupt:
        _say([str(Interrupted())], sys.stderr)
        return ExitCode.INTERRUPTED
    return code


class Demo:
    """One run of it."""

    def __init__(self, database: Path, *, quiet: bool, environ: Mapping[str, str]) -> None:
        self._database = database
        self._quiet = quiet
        self._environ = environ
        self._api = setting.simulated()
        self._last = _yesterday()

    def harvest(self) -> int:
        """Fetch what is missing of the year; returns the exit code."""
        result = asyncio.run(self._harvest())
        code = exit_code(outcome.exit_code for outcome in result.outcomes)
        lines = summary(result.outcomes, result.elapsed)
        _say(lines, sys.stderr if code else sys.stdout)
        books = _books(self._api)
        if books and not code:
            _say([books], sys.stdout)
        return code

    async def _harvest(self) -> BackfillResult:
        first = self._last - timedelta(days=setting.DAYS - 1)
        request = BackfillRequest(days=lambda _today: (first, self._last))
        clock = SystemClock()
        async with SimulatorServer(self._api, clock=clock) as server:
            self._introduce(server.url)
            display = display_for(sys.stderr, quiet=self._quiet, environ=self._environ, clock=clock)
            settings = setting.settings(self._database, server.url)
            backfill = Backfill(settings, lambda _: request, environ={}, emit=logs.observer(), display=display)
            return await backfill.run(_leave_at_once)

    def _introduce(self, url: str) -> None:
        if not self._quiet:
            _say(
                [
                    f"A simulated VoiceTrends answers at {url}, {setting.LIMIT} requests every {setting.WINDOW} s.",
                    f"Harvesting {setting.DAYS} days of {len(setting.PHONES)} numbers; Ctrl-C is fine at any time.",
                ],
                sys.stderr,
            )

    def show(self, shown_as: str, stream: TextIO) -> None:
        """The year as table and chart, and what to try next."""
        year = figures.read(self._database, self._last)
        _say([""], stream)
        pictures.print_table(pictures.table(year), stream, self._environ)
        _say(["", f"Calls of all numbers a day, the last {_WEEKS} weeks:"], stream)
        pictures.print_chart(year.newest(_WEEKS * figures.WEEK), stream)
        _say(["", "Try next:", *(f"  {command}" for command in hints.commands(shown_as))], stream)


def _books(api: SimulatedApi) -> str:
    """How the quota was kept, by the server's own books."""
    windows = api.requests_per_window(setting.ACCOUNT)
    if not windows:
        return ""
    return (
        f"The server counted {sum(windows.values()):,} requests in {len(windows)} quota windows,"
        f" at most {max(windows.values())} of {setting.LIMIT} in one."
    )


def _yesterday() -> date:
    return setting.calendar().local_date(SystemClock().time()) - timedelta(days=1)


def _leave_at_once() -> NoReturn:
    _say([str(Interrupted())], sys.stderr)
    os._exit(ExitCode.INTERRUPTED)


def _say(lines: list[str], stream: TextIO) -> None:
    for line in lines:
        print(line, file=stream, flush=True)
