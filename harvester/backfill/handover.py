"""Handover of a backfill to the daemon that holds the account, as an order in the database.

A backfill that finds its account held places an order, shows the progress that the daemon reports, and takes over if
the daemon dies. An order is a range, not a list of slices: its executor plans what is missing. An order that
is withdrawn, or whose backfill gives no sign of life for a minute, is dropped.

The daemon executes orders beside its own rounds, through the same quota, and leaves their days to them meanwhile.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date

from harvester.config import Account
from harvester.core.model import RunReport
from harvester.engine.account_plan import BackfillRequest, configured_series
from harvester.errors import StoreError
from harvester.store.claims import Database
from harvester.store.order_report import decode_report, order_error
from harvester.store.types import OrderState


class Handover:
    """The backfill's side: places an order for the account's holder and follows it.

    Args:
        database: used without a claim.
        account: whose series are ordered.
        request: the days to order.
        report: updated with what the holder reports.
        today: in the account's zone.
    """

    def __init__(
        self, database: Database, account: Account, request: BackfillRequest, report: RunReport, today: date
    ) -> None:
        self.taken_up = False  # the holder works on it
        self._database = database
        self._account = account
        self._request = request
        self._report = report
        self._days = request.days(today)
        self._number: int | None = None

    async def step(self) -> bool:
        """Place the order, or read its progress. Returns True once it is done.

        Raises:
            HarvesterError: the error that ended the order.
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
        if progress is None:  # dropped: this process slept for too long
            self._number = None
            return False
        self.taken_up = progress.state is not OrderState.PLACED
        decode_report(progress.report, self._report)
        if progress.state is not OrderState.DONE:
            return False
        if progress.error is not None:
            raise order_error(*progress.error)
        return True

    async def withdraw(self) -> None:
        """Delete the order, so that no daemon executes it after this process has ended."""
        number, self._number = self._number, None
        if number is not None:
            with suppress(StoreError):  # the order is dropped a minute after the last beat anyway
                await self._database.withdraw_order(number)
