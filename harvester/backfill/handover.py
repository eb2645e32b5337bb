"""A backfill beside a daemon: an order, handed over in the database.

The daemon holds the account, so a backfill that finds it held leaves an order there, shows what the daemon
reports, and takes over if the daemon dies. An order is a range, not a list of slices: what there is to ask for
is computed by whoever works it off. Withdrawn, or without a sign of life for a minute, it is dropped.

The daemon works orders off beside its own rounds, through the same quota, and leaves their days to them meanwhile.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

from harvester.engine.account_plan import BackfillRequest, configured_series
from harvester.errors import (
    StoreError,
)
from harvester.store.order_report import decode, raised
from harvester.store.types import OrderState

if TYPE_CHECKING:
    from harvester.config import Account
    from harvester.core.model import RunReport
    from harvester.store.database import Database


class Handover:
    """The backfill's side: leaves an order with whoever holds the account, and follows it.

    Args:
        database: not claimed.
        account: what of it is wanted.
        request: the days wanted.
        report: is brought up to date with what the holder reports.
        today: in the account's zone.
    """

    def __init__(
        self, database: Database, account: Account, request: BackfillRequest, report: RunReport, today: date
    ) -> None:
        self.taken_up = False  # somebody works on it
        self._database = database
        self._account = account
        self._request = request
        self._report = report
        self._days = request.days(today)
        self._number: int | None = None

    async def step(self) -> bool:
        """Place the order, or see how far it is. Returns whether it is done.

        Raises:
            HarvesterError: what ended it.
        """
        if self._number is None:
            first, last = self._days
            self._number = await self._database.place_order(
                self._account.name,
                first=first,
                last=last,
                refetch=self._request.refetch,
                series=configured_series(self._account),
            )
            return False
        progress = await self._database.beat_order(self._number)
        if progress is None:  # we slept for so long that it was dropped
            self._number = None
            return False
        self.taken_up = progress.state is not OrderState.PLACED
        decode(progress.report, self._report)
        if progress.state is not OrderState.DONE:
            return False
        if progress.error is not None:
            raise raised(*progress.error)
        return True

    async def withdraw(self) -> None:
        """Leave nothing behind that somebody would work off unasked."""
        number, self._number = self._number, None
        if number is not None:
            with suppress(StoreError):  # then it is dropped a minute after the last beat
                await self._database.withdraw_order(number)
