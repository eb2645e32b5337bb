"""One request to one account, and what the answer says: the online half of `check`.

The account is claimed first: only its spender may spend. Whoever holds it has asked more lately than we could, so its
last answer is told instead. The values that come are not stored; what they show of credentials and calendar is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harvester import config
from harvester.core.calendar_detection import compare_calendar, weeks_to_probe
from harvester.core.model import ALL, Page, Series, Slice
from harvester.core.period import Period
from harvester.core.retry import pause
from harvester.engine.account_plan import identity_of, limit_trackers_of
from harvester.engine.wiring import build_source, build_throttle, build_transport
from harvester.errors import (
    CalendarMismatch,
    ConfigError,
    CredentialsRefused,
    HarvesterError,
    Outage,
    PayloadError,
    SliceRejected,
    SourceUnavailable,
    StoreError,
    Throttled,
    Unauthorized,
    Unreachable,
)
from harvester.store.types import AccountHeld, RecordedState

if TYPE_CHECKING:
    import asyncio

    from harvester.clock import Clock
    from harvester.config import Account, Settings
    from harvester.runner.ports import Gate, Source
    from harvester.store.account_store import AccountStore
    from harvester.store.database import Database

MOST_TRIES = 3
PATIENCE = 30.0  # seconds after which a failed try is the last one

_WORTH_A_WORD = 2.0  # seconds of waiting


@dataclass(slots=True, kw_only=True)
class Probe:
    """An account being asked. Used once; `requests` counts what was sent, `held_by` names whoever holds the account."""

    account: Account
    settings: Settings
    environ: Mapping[str, str]
    database: Database
    clock: Clock
    slots: asyncio.Semaphore
    say: Callable[[str], None]  # why it takes long, for people
    detail: Callable[[str], None]  # what goes on, for the curious
    weeks_matter: bool = True  # whether a wrong `week_start` could be mended and does harm
    requests: int = field(default=0, init=False)
    held_by: str | None = field(default=None, init=False)
    _told_until: float = field(default=0.0, init=False)

    async def run(self) -> str | None:
        """What the answer fits, in words; None if another process holds the account.

        Raises:
            HarvesterError: what is wrong, in words that name the setting where one is to blame.
        """
        claimed = await self.database.claim(identity_of(self.account, self.settings))
        if isinstance(claimed, AccountHeld):
            self.held_by = claimed.holder
            return None
        try:
            return await self._noted(claimed)
        finally:
            await claimed.release()

    async def _noted(self, store: AccountStore) -> str:
        """Ask, and leave in the database what came of it, for `status` and for whoever checks beside a daemon."""
        try:
            told = await self._ask(store)
        except HarvesterError as error:
            await self._note_failure(store, error)
            raise
        await store.set_answer(told, self.clock.time())
        await store.set_state(RecordedState.OK)
        return told

    async def _note_failure(self, store: AccountStore, error: HarvesterError) -> None:
        if isinstance(error, StoreError) or (isinstance(error, ConfigError) and not self.requests):
            return  # nothing can be written, or nothing was asked
        if isinstance(error, Unreachable):
            await store.set_state(RecordedState.WAITING, str(error))
            return
        await store.set_answer(str(error), self.clock.time())
        if isinstance(error, CredentialsRefused | CalendarMismatch):
            await store.set_state(RecordedState.PAUSED, str(error))

    async def _ask(self, store: AccountStore) -> str:
        account = self.account
        throttle = build_throttle(account, clock=self.clock, ledger=store, slots=self.slots, on_wait=self._say_how_long)
        await throttle.open()
        piece = await self._piece(store)
        try:
            async with build_transport(account) as transport:
                source = build_source(
                    account,
                    transport=transport,
                    clock=self.clock,
                    store=store,
                    password=lambda: config.password(account.name, self.settings, self.environ),
                    on_auth_wait=lambda seconds: self.say(f"waiting {seconds:.0f} s for the limit of /auth"),
                )
                page = await self._fetch(source, throttle, piece)
        finally:
            await throttle.close()
        verdict = compare_calendar(page, account.calendar, weeks_matter=self.weeks_matter)
        if verdict.mismatch is not None:
            raise verdict.mismatch
        return verdict.text

    async def _piece(self, store: AccountStore) -> Slice:
        account, now = self.account, self.clock.time()
        numbers = [phone.number for phone in account.phones]
        resource = account.resources[0]
        widest = limit_trackers_of(account, await store.range_limits())[resource].allowed(now)
        first, last = weeks_to_probe(account.calendar, account.calendar.local_date(now), widest)
        series = Series(account.name, resource, ALL if ALL in numbers else numbers[0], Period.WEEK)
        return Slice(series, first, last)

    async def _fetch(self, source: Source, gate: Gate, piece: Slice) -> Page:
        """One answer, with few tries: somebody waits for it."""
        began = self.clock.monotonic()
        for attempt in range(1, MOST_TRIES + 1):
            try:
                return await self._try(source, gate, piece)
            except (SourceUnavailable, Throttled, PayloadError) as error:
                late = self.clock.monotonic() - began > PATIENCE and not isinstance(error, Throttled)
                if attempt == MOST_TRIES or late:
                    raise self._given_up(error) from None
                self.say(f"{error}; trying again")
            except Unauthorized as error:
                raise CredentialsRefused(
                    f"{self.account.login} gets {error.detail} for {piece.series.phone}: wrong login or password, or "
                    "a number of another account"
                ) from None
            except SliceRejected as error:
                raise self._blamed(error, piece) from None
            await self.clock.sleep(pause(attempt, 0.0))
        raise AssertionError  # the last try returns or raises

    async def _try(self, source: Source, gate: Gate, piece: Slice) -> Page:
        await source.ready()
        permit = await gate.acquire()
        self.requests += 1
        try:
            self.detail(f"asking for {piece}")
            return await source.fetch(piece, permit)
        except SourceUnavailable as error:
            if error.outage is Outage.CONNECT:  # nothing left
                self.requests -= 1
            raise

    def _given_up(self, error: HarvesterError) -> HarvesterError:
        if isinstance(error, PayloadError):
            return error
        reason = "429 in every window" if isinstance(error, Throttled) else error.detail
        return Unreachable(f"{self.account.api.base_url}: {reason}")

    def _blamed(self, error: SliceRejected, piece: Slice) -> HarvesterError:
        if "phone" in error.named:
            phone = piece.series.phone
            return ConfigError(f"accounts.{self.account.name}.phones: the API refuses {phone} ({error.detail})")
        return SliceRejected(f"{piece}: {error.detail}", named=error.named)

    def _say_how_long(self, until: float | None) -> None:
        if until is None or until <= self._told_until + _WORTH_A_WORD:
            return
        seconds = until - self.clock.monotonic()
        if seconds > _WORTH_A_WORD:
            self._told_until = until
            end = time.strftime("%H:%M:%S", time.localtime(self.clock.time() + seconds))
            self.say(f"the quota of this window is spent; waiting {seconds:.0f} s, until {end}")
