"""One request for an account, checked against its configuration: the online part of `check`.

The account is claimed first, since only the holder of an account may spend its quota. If another process holds it, no
request is sent: that process has a newer answer. The values of the answer are not stored; its result for credentials
and calendar is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harvester import config
from harvester.clock import Clock
from harvester.config import Account, Settings
from harvester.console.text import clock_skew, duration, utc_time
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
from harvester.parsing.calendar_detection import compare_calendar, weeks_to_probe
from harvester.runner.ports import Gate, Source
from harvester.store.account_store import AccountStore
from harvester.store.claims import Database
from harvester.store.types import AccountHeld, RecordedState
from harvester.throttle.throttle import MAX_SKEW_SECONDS

MAX_TRIES = 3
RETRY_SECONDS = 30.0  # after the first try; a try that fails later is the last one

_MIN_NOTICED_SECONDS = 2.0  # shorter waits are not printed


@dataclass(slots=True, kw_only=True)
class Probe:
    """Request for one account. Used once; `requests` counts the sent requests, `held_by` names the holding process."""

    account: Account
    settings: Settings
    environ: Mapping[str, str]
    database: Database
    clock: Clock
    slots: asyncio.Semaphore
    notice: Callable[[str], None]  # prints reasons for delays
    detail: Callable[[str], None]  # prints each step
    weeks_matter: bool = True  # False: a wrong `week_start` is reported and not refused
    requests: int = field(default=0, init=False)
    held_by: str | None = field(default=None, init=False)
    _noticed_until: float = field(default=0.0, init=False)

    async def run(self) -> str | None:
        """Return which calendar the answer fits, as text; None if another process holds the account.

        Raises:
            HarvesterError: the check failed; the message names the wrong setting, if there is one.
        """
        claimed = await self.database.claim(identity_of(self.account, self.settings))
        if isinstance(claimed, AccountHeld):
            self.held_by = claimed.holder
            return None
        try:
            return await self._ask_and_record(claimed)
        finally:
            await claimed.release()

    async def _ask_and_record(self, store: AccountStore) -> str:
        """Send the request and record its result in the database, for `status` and for a `check` beside a daemon."""
        try:
            answer = await self._ask(store)
        except HarvesterError as error:
            await self._record_failure(store, error)
            raise
        await store.set_answer(answer, self.clock.time())
        await store.set_state(RecordedState.OK)
        return answer

    async def _record_failure(self, store: AccountStore, error: HarvesterError) -> None:
        if isinstance(error, StoreError) or (isinstance(error, ConfigError) and not self.requests):
            return  # the database does not work, or no request was sent
        if isinstance(error, Unreachable):
            await store.set_state(RecordedState.WAITING, str(error))
            return
        await store.set_answer(str(error), self.clock.time())
        if isinstance(error, CredentialsRefused | CalendarMismatch):
            await store.set_state(RecordedState.PAUSED, str(error))

    async def _ask(self, store: AccountStore) -> str:
        account = self.account
        throttle = build_throttle(account, clock=self.clock, ledger=store, slots=self.slots, on_wait=self._notice_wait)
        await throttle.open()
        piece = await self._choose_slice(store)
        try:
            async with build_transport(account) as transport:
                source = build_source(
                    account,
                    transport=transport,
                    clock=self.clock,
                    store=store,
                    password=lambda: config.password(account.name, self.settings, self.environ),
                    on_auth_wait=lambda seconds: self.notice(
                        f"the limit of /auth is reached; waiting {duration(seconds)}"
                    ),
                )
                page = await self._fetch(source, throttle, piece)
        finally:
            await throttle.close()
        answer = compare_calendar(page, account.calendar, weeks_matter=self.weeks_matter)
        ahead = -throttle.server_ahead()
        if abs(ahead) <= MAX_SKEW_SECONDS:
            return answer
        return f"{answer}; this host's clock is {clock_skew(round(ahead))}; set the host's clock"

    async def _choose_slice(self, store: AccountStore) -> Slice:
        account, now = self.account, self.clock.time()
        numbers = [phone.number for phone in account.phones]
        resource = account.resources[0]
        widest = limit_trackers_of(account, await store.range_limits(), [(resource, Period.WEEK)])[
            resource, Period.WEEK
        ].allowed(now)
        first, last = weeks_to_probe(account.calendar, account.calendar.local_date(now), widest)
        series = Series(account.name, resource, ALL if ALL in numbers else numbers[0], Period.WEEK)
        return Slice(series, first, last)

    async def _fetch(self, source: Source, gate: Gate, piece: Slice) -> Page:
        """Return the answer, after few retries only, since a user waits for it."""
        began = self.clock.monotonic()
        for attempt in range(1, MAX_TRIES + 1):
            try:
                return await self._try(source, gate, piece)
            except (SourceUnavailable, Throttled, PayloadError) as error:
                late = self.clock.monotonic() - began > RETRY_SECONDS and not isinstance(error, Throttled)
                if attempt == MAX_TRIES or late:
                    raise self._final_error(error) from None
                self.notice(f"{error}; trying again")
            except Unauthorized as error:
                raise CredentialsRefused(
                    f"{error.detail} for {self.account.login} and {piece.series.phone}: the login or password is "
                    "wrong, or the number belongs to another account"
                ) from None
            except SliceRejected as error:
                raise self._rejected(error, piece) from None
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
            if error.outage is Outage.CONNECT:  # nothing was sent
                self.requests -= 1
            raise

    def _final_error(self, error: HarvesterError) -> HarvesterError:
        if isinstance(error, PayloadError):
            return error
        reason = "429 in every window" if isinstance(error, Throttled) else error.detail
        return Unreachable(f"{self.account.api.base_url}: {reason}")

    def _rejected(self, error: SliceRejected, piece: Slice) -> HarvesterError:
        if "phone" in error.named:
            phone = piece.series.phone
            return ConfigError(f"accounts.{self.account.name}.phones: the API refuses {phone} ({error.detail})")
        return SliceRejected(f"{piece}: {error.detail}", named=error.named)

    def _notice_wait(self, until: float | None) -> None:
        if until is None or until <= self._noticed_until + _MIN_NOTICED_SECONDS:
            return
        seconds = until - self.clock.monotonic()
        if seconds > _MIN_NOTICED_SECONDS:
            self._noticed_until = until
            end = utc_time(self.clock.time() + seconds)
            self.notice(f"the quota of this window is spent; waiting {duration(seconds)}, until {end}")
