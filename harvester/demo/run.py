"""Run of the demonstration: simulator, backfill, table and chart, exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import NoReturn, TextIO

from harvester.backfill.run import Backfill, BackfillResult
from harvester.backfill.summary import summary
from harvester.clock import SystemClock
from harvester.config import Log
from harvester.console import logs
from harvester.console.progress import display_for
from harvester.console.text import counted, duration
from harvester.demo import figures, hints, pictures, setting
from harvester.demo.ownership import refuse_foreign
from harvester.engine.account_plan import BackfillRequest
from harvester.errors import ExitCode, Interrupted, exit_code
from harvester.simulator.api import SimulatedApi
from harvester.simulator.server import SimulatorServer

_CHART_DAYS = 14


def run(database: Path, written: str, *, verbose: int, quiet: int, environ: Mapping[str, str]) -> int:
    """Store the simulated year in an SQLite file, print it, and return the exit code.

    Args:
        database: the absolute path of the file; created where missing.
        written: the same path as the user wrote it.
        verbose: how often -v was given.
        quiet: how often -q was given.
        environ: for the capabilities of the terminal; no setting is read from it.

    Raises:
        HarvesterError: the demonstration could not start.
    """
    refuse_foreign(database)
    logs.set_up(Log(level="warning"), verbose=verbose, quiet=quiet)
    demo = Demo(database, quiet=bool(quiet), environ=environ)
    try:
        code = demo.backfill()
        if not code:
            demo.report(written, sys.stdout)
    except KeyboardInterrupt:
        _print([str(Interrupted())], sys.stderr)
        return ExitCode.INTERRUPTED
    return code


class Demo:
    """One run of the demonstration."""

    def __init__(self, database: Path, *, quiet: bool, environ: Mapping[str, str]) -> None:
        self._database = database
        self._quiet = quiet
        self._environ = environ
        self._api = setting.simulated()
        self._last = _yesterday()

    def backfill(self) -> int:
        """Fetch what is missing of the year and return the exit code."""
        result = asyncio.run(self._backfill())
        code = exit_code(outcome.exit_code for outcome in result.outcomes)
        lines = summary(result.outcomes, result.elapsed)
        _print(lines, sys.stderr if code else sys.stdout)
        usage = _quota_usage(self._api)
        if usage and not code:
            _print([usage], sys.stdout)
        return code

    async def _backfill(self) -> BackfillResult:
        first = self._last - timedelta(days=setting.DAYS - 1)
        request = BackfillRequest(days=lambda _today: (first, self._last))
        clock = SystemClock()
        async with SimulatorServer(self._api, clock=clock) as server:
            self._print_introduction(server.url)
            display = display_for(sys.stderr, quiet=self._quiet, environ=self._environ, clock=clock)
            settings = setting.settings(self._database, server.url)
            backfill = Backfill(settings, lambda _: request, environ={}, emit=logs.observer(), display=display)
            return await backfill.run(_exit_at_once)

    def _print_introduction(self, url: str) -> None:
        if not self._quiet:
            quota = f"{counted(setting.LIMIT, 'request')} per {duration(setting.WINDOW)}"
            _print(
                [
                    f"A simulated VoiceTrends listens at {url}; its quota: {quota}.",
                    f"Fetching {setting.DAYS} days of {len(setting.PHONES)} numbers. Ctrl-C stops it at any time.",
                ],
                sys.stderr,
            )

    def report(self, written: str, stream: TextIO) -> None:
        """Print the year as table and chart, and commands to try next."""
        year = figures.read(self._database, self._last)
        _print([""], stream)
        pictures.draw(pictures.phone_table(year), stream, self._environ)
        _print(["", f"Calls per day of all numbers, the last {_CHART_DAYS} days:"], stream)
        pictures.draw(pictures.call_chart(year.newest(_CHART_DAYS)), stream, self._environ)
        _print(["", "Try next:", *(f"  {command}" for command in hints.commands(written))], stream)


def _quota_usage(api: SimulatedApi) -> str:
    """Return how the quota was used, as the server counted it; "" without a request."""
    windows = api.requests_per_window(setting.ACCOUNT)
    if not windows:
        return ""
    return (
        f"The server counted {counted(sum(windows.values()), 'request')} in {len(windows)} quota windows,"
        f" at most {max(windows.values())} of {setting.LIMIT} in one."
    )


def _yesterday() -> date:
    return setting.calendar().local_date(SystemClock().time()) - timedelta(days=1)


def _exit_at_once() -> NoReturn:
    _print([str(Interrupted())], sys.stderr)
    os._exit(ExitCode.INTERRUPTED)


def _print(lines: list[str], stream: TextIO) -> None:
    for line in lines:
        print(line, file=stream, flush=True)
