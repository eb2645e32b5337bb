"""The `backfill` command: fetch a past range of all accounts at the same time, then end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from threading import Event as ThreadEvent

from harvester.backfill.account_run import AccountRun
from harvester.backfill.outcome import AccountOutcome
from harvester.clock import SystemClock
from harvester.config import Account, Settings
from harvester.engine.account_plan import BackfillRequest
from harvester.engine.process import build_process
from harvester.engine.stopping import CUT_OFF_SECONDS, exit_at_last
from harvester.engine.wiring import build_database
from harvester.errors import HarvesterError
from harvester.events import Event
from harvester.runner.ports import Observer
from harvester.store.claims import Database

Display = Callable[[Sequence[AccountRun]], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """Outcomes of all accounts."""

    outcomes: Sequence[AccountOutcome]
    elapsed: float  # seconds


class Backfill:
    """A run over all accounts of the settings. Used once.

    Args:
        settings: valid, with at least one account.
        request_of: returns what is requested of an account.
        environ: for secrets.
        emit: takes the events.
        display: shows the progress of the account runs until it is closed.
    """

    def __init__(
        self,
        settings: Settings,
        request_of: Callable[[Account], BackfillRequest],
        *,
        environ: Mapping[str, str],
        emit: Observer,
        display: Display,
    ) -> None:
        self._settings = settings
        self._request_of = request_of
        self._environ = environ
        self._emit = emit
        self._display = display
        self._clock = SystemClock()
        self._began = self._clock.monotonic()
        self._runs: list[AccountRun] = []
        self._ending = ThreadEvent()  # a signal came
        self._database: Database | None = None

    def result_so_far(self, error: Exception | None = None) -> BackfillResult:
        """Return the result up to now, with `error` as the error of every account."""
        return BackfillResult(
            [AccountOutcome(run.report, error) for run in self._runs], self._clock.monotonic() - self._began
        )

    async def run(self, on_second_interrupt: Callable[[], None]) -> BackfillResult:
        """Fetch and store. The first SIGINT or SIGTERM finishes the requests in flight, then ends the run.

        Args:
            on_second_interrupt: ends the process; called at the second signal, or long after the first one.

        Raises:
            ConfigError: the database's password is not readable.
            Interrupted: a signal came while the database's password was read.
        """
        settings = self._settings
        self._handle_signals(on_second_interrupt)
        database = await asyncio.to_thread(build_database, settings, self._environ, ending=self._ending)
        process = build_process(
            settings, self._environ, database, clock=self._clock, emit=self._emit, ending=self._ending
        )
        self._runs = [AccountRun(process, account, self._request_of(account)) for account in settings.accounts.values()]
        self._database = database
        if self._ending.is_set():
            self._interrupt()
        try:
            async with self._display(self._runs):
                outcomes = await asyncio.gather(*(self._run_account(run) for run in self._runs))
        finally:
            await database.close()
        return BackfillResult(outcomes, self._clock.monotonic() - self._began)

    async def _run_account(self, run: AccountRun) -> AccountOutcome:
        """Return the account's outcome; its errors never stop another account."""
        try:
            await run.run()
        except HarvesterError as error:
            return AccountOutcome(run.report, error)
        except Exception as error:  # noqa: BLE001 - a bug in one account must not stop the others
            self._emit(Event.BUG, account=run.account.name, error=error)
            return AccountOutcome(run.report, error)
        return AccountOutcome(run.report)

    def _handle_signals(self, on_second_interrupt: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        def interrupted() -> None:
            if self._ending.is_set():
                on_second_interrupt()
            exit_at_last(on_second_interrupt)
            self._ending.set()
            self._emit(Event.INTERRUPTED)
            self._interrupt()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted)

    def _interrupt(self) -> None:
        if self._database is not None:
            asyncio.get_running_loop().call_later(CUT_OFF_SECONDS, self._database.cut_off)
        for run in self._runs:
            run.interrupt()
