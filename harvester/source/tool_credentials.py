"""Temporary credentials: a tool's login and password are exchanged for a pair at /auth, and renewed.

Invariants:

- One exchange serves all waiting callers, whether it succeeds or fails. A caller that comes soon after a failure waits
  for the next exchange, after growing pauses, instead of sending its own.
- Every attempt is written to the ledger before it is sent, so the limit per window holds across restarts. The window
  slides: no interval of the window's length has more attempts than the limit, wherever the server's window begins. The
  ages of the attempts are read once per exchange and then counted on the monotonic clock, so a stepped host clock
  delays an exchange by one window at most. An attempt that certainly was not sent is not counted again by this process.
- After two exchanges in a row whose pairs no data request was accepted with, the third 401 means that renewal does not
  help, unless a request was accepted in the last minute: then one more exchange is made after that minute. An exchange
  because of age does not count. A refusal is final for this object; a later try needs a new object.
- The tool's password is read for each exchange and not stored.

A pair is replaced after 24 h. If /auth then gives no usable answer, the old pair stays in use, because it may be valid.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlencode

from harvester.clock import LONGEST_SLEEP, Clock
from harvester.core.backoff import backoff
from harvester.core.headers import read_quota_headers
from harvester.errors import ConfigError, CredentialsRefused, Outage, PayloadError, SourceUnavailable, Transient
from harvester.parsing.payload import is_document, parse_credentials, parse_error
from harvester.redaction import Redactor
from harvester.source.body import accept_headers, read_answer
from harvester.source.credentials import CredentialPair, RunBlocking, authorization
from harvester.source.responses import quote_text, redirect_of, transient_error_of
from harvester.source.transport import Request, Transport

PAIR_LIFETIME = 24 * 3600.0  # seconds after which a pair is replaced
MAX_UNPROVEN_PAIRS = 2  # exchanges in a row without an accepted data request
BURST_SECONDS = 60.0  # after an accepted request, in which refusals may come from a limit on bursts

_REFUSAL_STATUSES = frozenset({HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN})  # with an error text
_RETRY_AFTER_FAILED_RENEWAL = 900.0  # seconds until a failed exchange because of age is repeated
_FIRST_PAUSE = 0.5  # seconds after a failed exchange
_LONGEST_PAUSE = 8.0  # seconds after failed exchanges; the caller adds longer ones


class AuthLedger(Protocol):
    """Record of one account's attempts at /auth, in epoch seconds of the host's clock; it outlives the process."""

    async def attempts(self) -> list[float]:
        """Return the attempts that may still count, in any order."""
        ...

    async def record(self, at: float) -> None:
        """Add an attempt, before it is sent."""
        ...


@dataclass(frozen=True, slots=True)
class AuthLimit:
    """Limit of attempts at /auth."""

    attempts: int = 15
    window: float = 900.0  # seconds


class ToolCredentials:
    """Temporary pairs from POST /auth; implements Credentials.

    Args:
        transport: sends the exchange.
        clock: for ages and waits.
        ledger: of this login's attempts.
        base_url: of the API; the exchange is at `base_url` + "/auth".
        tool: dev, insight or fuseplus.
        login: of the tool.
        password: returns the tool's password; called for each exchange.
        body_format: json or xml.
        limit: of /auth; 15 in 900 s if not given.
        redactor: learns every secret that is sent; a new one if not given.
        run_blocking: calls `password`, which may start a slow command.
        on_wait: called with the seconds of a wait for the limit of /auth.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        ledger: AuthLedger,
        *,
        base_url: str,
        tool: str,
        login: str,
        password: Callable[[], str],
        body_format: str = "json",
        limit: AuthLimit | None = None,
        redactor: Redactor | None = None,
        run_blocking: RunBlocking = asyncio.to_thread,
        on_wait: Callable[[float], None] | None = None,
    ) -> None:
        self.redactor = redactor or Redactor()
        self._transport = transport
        self._clock = clock
        self._ledger = ledger
        self._url = f"{base_url.rstrip('/')}/auth"
        self._tool = tool
        self._login = login
        self._password = password
        self._body_format = body_format
        self._limit = limit or AuthLimit()
        self._run_blocking = run_blocking
        self._on_wait = on_wait or (lambda _: None)
        self._lock = asyncio.Lock()
        self._pair: CredentialPair | None = None
        self._renew_at = 0.0  # monotonic seconds
        self._unproven_pairs = 0  # in a row
        self._accepted_at = -math.inf  # monotonic seconds of the newest accepted request
        self._refusal: CredentialsRefused | None = None
        self._failures = 0  # of all exchanges
        self._last_failure: Transient | None = None
        self._failures_in_a_row = 0
        self._paused_until = 0.0  # monotonic seconds
        self._unsent: set[float] = set()  # attempts in the ledger that certainly were not sent

    async def ready(self) -> None:
        """See Credentials."""
        if self._pair is None:
            await self._replace(0)
        elif self._clock.monotonic() >= self._renew_at:
            await self._renew_because_of_age(self._pair)

    def current(self) -> CredentialPair | None:
        """See Credentials."""
        return self._pair

    def accepted(self, generation: int) -> None:
        """See Credentials."""
        if self._pair is not None and generation == self._pair.generation:
            self._unproven_pairs = 0
            self._accepted_at = self._clock.monotonic()

    async def renew(self, generation: int) -> None:
        """See Credentials."""
        await self._replace(generation)

    async def _renew_because_of_age(self, pair: CredentialPair) -> None:
        self._renew_at = self._clock.monotonic() + _RETRY_AFTER_FAILED_RENEWAL  # other callers use the old pair
        with suppress(Transient):
            await self._replace(pair.generation, because_of_age=True)

    async def _replace(self, generation: int, *, because_of_age: bool = False) -> None:
        """Make sure that the pair is newer than `generation`, by one exchange for all callers that wait here."""
        failures = self._failures
        async with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._pair is not None and self._pair.generation > generation:
                return
            if self._last_failure is not None and self._failures != failures:
                raise self._last_failure
            try:
                await self._exchange(because_of_age=because_of_age)
            except Transient as error:
                self._note_failure(error)
                raise
            except CredentialsRefused as error:
                self._refusal = error
                raise

    def _note_failure(self, error: Transient) -> None:
        self._failures += 1
        self._last_failure = error
        self._failures_in_a_row += 1
        pause = backoff(_FIRST_PAUSE, self._failures_in_a_row, _LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, self._clock.monotonic() + pause)

    async def _exchange(self, *, because_of_age: bool) -> None:
        if not because_of_age and self._unproven_pairs >= MAX_UNPROVEN_PAIRS:
            if self._clock.monotonic() >= self._accepted_at + BURST_SECONDS:
                raise CredentialsRefused(
                    f"the API refused (401 or 403) the last {MAX_UNPROVEN_PAIRS} temporary pairs from /auth for "
                    f"{self._login}"
                )
            await self._wait_until(self._accepted_at + BURST_SECONDS)
        await self._wait_until(self._paused_until)
        await self._wait_for_the_limit()
        password = await self._run_blocking(self._password)
        self.redactor.add_login(self._login, password)
        login, temporary = self._read_pair(*await self._send(self._form(password)))
        self.redactor.add_temporary(login, temporary)
        generation = self._pair.generation + 1 if self._pair else 1
        self._pair = CredentialPair(generation, authorization(login, temporary))
        self._renew_at = self._clock.monotonic() + PAIR_LIFETIME
        self._unproven_pairs += 0 if because_of_age else 1
        self._failures_in_a_row = 0

    async def _wait_for_the_limit(self) -> None:
        """Wait until one more attempt is within the limit."""
        now, here = self._clock.time(), self._clock.monotonic()
        attempts = await self._ledger.attempts()
        self._unsent.intersection_update(attempts)
        # An attempt in the future was recorded before the clock was stepped back: it counts as made now.
        ends = sorted(here - max(0.0, now - at) + self._limit.window for at in attempts if at not in self._unsent)
        if len(ends) >= self._limit.attempts:
            await self._wait_until(ends[-self._limit.attempts])

    async def _wait_until(self, moment: float) -> None:
        remaining = moment - self._clock.monotonic()
        if remaining > _LONGEST_PAUSE:
            self._on_wait(remaining)
        while remaining > 0:
            await self._clock.sleep(min(remaining, LONGEST_SLEEP))
            remaining = moment - self._clock.monotonic()

    def _form(self, password: str) -> bytes:
        try:
            return urlencode({"tool": self._tool, "login": self._login, "password": password}).encode()
        except UnicodeEncodeError:
            raise ConfigError(f"the password of {self._login} is not valid Unicode text") from None

    async def _send(self, form: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        headers = accept_headers(self._body_format) | {"Content-Type": "application/x-www-form-urlencoded"}
        at = self._clock.time()
        await self._ledger.record(at)
        try:
            async with self._transport.send(Request("POST", self._url, headers, form)) as response:
                if response.status == HTTPStatus.TOO_MANY_REQUESTS:
                    self._pause_after_429(response.headers)
                redirect = redirect_of(response.status, response.headers, self.redactor)
                if redirect is not None:
                    raise redirect
                return response.status, await read_answer(response)
        except SourceUnavailable as error:
            if error.outage is Outage.CONNECT:
                self._unsent.add(at)
            raise
        except PayloadError as error:
            raise self._unusable(error) from None

    def _pause_after_429(self, headers: Mapping[str, str]) -> None:
        """Pause for as long as the server says; if it does not, for a window at most."""
        quota = read_quota_headers(headers)
        seconds = self._limit.window
        if quota.retry_after is not None:
            seconds = quota.retry_after
        elif quota.reset is not None and quota.date is not None:
            seconds = max(0.0, min(seconds, quota.reset - quota.date + 1))
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    def _read_pair(self, status: int, body: bytes) -> tuple[str, str]:
        """Return the temporary login and password in an answer."""
        written = parse_error(body)
        text = None if written is None else quote_text(written, self.redactor)
        if status == HTTPStatus.OK and text is None and is_document(body):
            try:
                return parse_credentials(body)
            except PayloadError as error:
                raise self._unusable(error) from None
        if status == HTTPStatus.UNAUTHORIZED or (text is not None and status in _REFUSAL_STATUSES):
            raise CredentialsRefused(f"/auth refuses {self._login} ({self._tool}): {text or status}")
        raise transient_error_of(status, body, text) or SourceUnavailable(
            f"/auth answered {status}: {text}", outage=Outage.NOT_API, status=status
        )

    def _unusable(self, error: PayloadError) -> SourceUnavailable:
        """Return the outage that an unusable answer to /auth counts as, because it is no slice's failure."""
        detail = f"/auth: {self.redactor.redact(error.detail)}"
        return SourceUnavailable(detail, outage=Outage.NOT_API, status=HTTPStatus.OK)
