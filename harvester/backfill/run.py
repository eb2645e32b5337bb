"""`backfill`: harvest a past range of every account, side by side, and end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harvester.backfill.account_run import AccountRun
from harvester.backfill.outcome import AccountOutcome
from harvester.clock import SystemClock
from harvester.engine.process import build_process
from harvester.engine.wiring import build_database
from harvester.errors import HarvesterError
from harvester.events import Event

if TYPE_CHECKING:
    from harvester.config import Account, Settings
    from harvester.engine.account_plan import BackfillRequest
    from harvester.runner.ports import Observer

Display = Callable[[Sequence[AccountRun]], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """How a backfill ended."""

    outcomes: Sequence[AccountOutcome]
    elapsed: float


class Backfill:
    """A run over all accounts of the settings. Used once."""

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

    def result_so_far(self, error: Exception | None = None) -> BackfillResult:
        """What was done until now; `error` stands for every account."""
        return BackfillResult(
            [AccountOutcome(run.report, error) for run in self._runs], self._clock.monotonic() - self._began
        )

    async def run(self, on_second_interrupt: Callable[[], None]) -> BackfillResult:
        """Harvest; the first SIGINT or SIGTERM lets what is in flight land, the second calls the function given.

        Raises:
            ConfigError: the database's password cannot be had.
        """
        settings = self._settings
        database = build_database(settings, self._environ)
        process = build_process(settings, self._environ, database, clock=self._clock, emit=self._emit)
        self._runs = [AccountRun(process, account, self._request_of(account)) for account in settings.accounts.values()]
        self._listen(on_second_interrupt)
        try:
            async with self._display(self._runs):
                outcomes = await asyncio.gather(*(self._one(run) for run in self._runs))
        finally:
            await database.close()
        return BackfillResult(outcomes, self._clock.monotonic() - self._began)

    async def _one(self, run: AccountRun) -> AccountOutcome:
        """One account's trouble stays its own."""
        try:
            await run.run()
        except HarvesterError as error:
            return AccountOutcome(run.report, error)
        except Exception as error:  # noqa: BLE001 - a bug in one account must not stop the others
            self._emit(Event.BUG, account=run.account.name, error=error)
            return AccountOutcome(run.report, error)
        return AccountOutcome(run.report)

    def _listen(self, on_second_interrupt: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        seen = 0

        def interrupted() -> None:
            nonlocal seen
            seen += 1
            if seen > 1:
                on_second_interrupt()
            self._emit(Event.INTERRUPTED)
            for run in self._runs:
                run.interrupt()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted)
