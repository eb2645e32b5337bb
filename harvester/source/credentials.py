"""The login and password that go with a data request: given, or exchanged for at /auth and renewed in time.

`DirectCredentials` has one pair for ever. `ToolCredentials` exchanges the tool's login and password for a temporary
pair. Pairs are numbered by generation, so that a late 401 for an old pair renews nothing. Its invariants:

- One exchange serves all who wait, whether it succeeds or fails. Who asks soon after a failure waits for the next
  exchange, at growing distances, instead of sending its own.
- Every attempt is in the ledger before it is sent, so the limit per window holds over restarts. The window slides
  here: no stretch as long as the server's window has more attempts than the limit, wherever the server's begins.
  Ages are taken once per exchange and then run by the monotonic clock, so a stepped clock delays by one window at
  most. An attempt that certainly never left is not counted again by this process.
- Two exchanges in a row that no data request approved of are enough: the third 401 means that renewing does not
  help. An exchange for age alone does not count. A refusal is final for this object; another try takes another one.
- The tool's password is asked for at each exchange and not kept.

A pair is exchanged anew after 24 h. Where that fails for want of an answer, the old pair may still work and is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode

from aiohttp import encode_basic_auth

from harvester.clock import LONGEST_SLEEP, Clock
from harvester.core.backoff import backoff
from harvester.core.headers import read_quota_headers
from harvester.core.payload import escape_text, is_document, parse_credentials, parse_error
from harvester.errors import ConfigError, CredentialsRefused, Outage, PayloadError, SourceUnavailable, Transient
from harvester.redaction import Redactor
from harvester.source.body import accepting, read_answer
from harvester.source.responses import BAD_REQUEST, FORBIDDEN, OK, TOO_MANY, UNAUTHORIZED, not_the_slice, quoted
from harvester.source.transport import Request, Transport

Run = Callable[[Callable[[], str]], Awaitable[str]]

LIFETIME = 24 * 3600.0  # seconds after which a pair is exchanged anew
MOST_UNPROVEN = 2  # exchanges in a row without an accepted data request

_REFUSING = frozenset({OK, BAD_REQUEST, FORBIDDEN})
_POSTPONED = 900.0  # seconds until an exchange for age that failed is tried again
_FIRST_PAUSE = 0.5  # seconds
_LONGEST_PAUSE = 8.0  # seconds between failed exchanges; longer ones are the caller's business


@dataclass(frozen=True, slots=True)
class Pair:
    """A login and password, ready to be sent."""

    generation: int
    authorization: str = field(repr=False)


class Credentials(Protocol):
    """What HttpSource needs to know of them."""

    @property
    def redactor(self) -> Redactor:
        """Filter for what the API writes; it knows every secret that was sent to it."""
        ...

    async def ready(self) -> None:
        """Have a pair that is believed good."""
        ...

    def current(self) -> Pair | None:
        """The newest pair; None before `ready`."""
        ...

    def accepted(self, generation: int) -> None:
        """A data request with this generation's pair was answered."""
        ...

    async def renew(self, generation: int) -> None:
        """This generation's pair is believed dead."""
        ...


class AuthLedger(Protocol):
    """Remembers over restarts when /auth was asked for one account; host's epoch seconds."""

    async def attempts(self) -> list[float]:
        """The moments that may still matter, in any order."""
        ...

    async def record(self, at: float) -> None:
        """Keep one more, before it is sent."""
        ...


@dataclass(frozen=True, slots=True)
class AuthLimit:
    """How often /auth may be asked."""

    attempts: int = 15
    window: float = 900.0  # seconds


class DirectCredentials:
    """Login and password that the data resources take as they are."""

    def __init__(
        self,
        login: str,
        password: Callable[[], str],
        *,
        redactor: Redactor | None = None,
        run: Run = asyncio.to_thread,
    ) -> None:
        """Call `password` when a pair is first needed, by `run`: it may start a slow command."""
        self.redactor = redactor or Redactor()
        self._login = login
        self._password = password
        self._run = run
        self._pair: Pair | None = None

    async def ready(self) -> None:
        """See Credentials."""
        if self._pair is None:
            password = await self._run(self._password)
            self.redactor.add_login(self._login, password)
            self._pair = Pair(1, _authorization(self._login, password))

    def current(self) -> Pair | None:
        """See Credentials."""
        return self._pair

    def accepted(self, generation: int) -> None:
        """See Credentials."""

    async def renew(self, generation: int) -> None:  # noqa: ARG002 - there is one generation
        """See Credentials."""
        raise CredentialsRefused(
            f"{self._login} was refused (401 or 403), and there is no tool to renew its credentials with"
        )


class ToolCredentials:
    """Temporary pairs from POST /auth.

    Args:
        transport: sends the exchange.
        clock: for ages and waits.
        ledger: of this login's attempts.
        base_url: of the API; the exchange is at `base_url` + "/auth".
        tool: dev, insight or fuseplus.
        login: the tool's.
        password: gives the tool's password; called by `run` for each exchange.
        accept: json or xml.
        limit: of /auth; 15 in 900 s if not given.
        redactor: learns every secret that is sent; a new one if not given.
        run: calls a function that may block.
        on_wait: is told the seconds of a wait that /auth's limit makes necessary.
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
        accept: str = "json",
        limit: AuthLimit | None = None,
        redactor: Redactor | None = None,
        run: Run = asyncio.to_thread,
        on_wait: Callable[[float], None] | None = None,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._ledger = ledger
        self._url = f"{base_url.rstrip('/')}/auth"
        self._tool = tool
        self._login = login
        self._password = password
        self._accept = accept
        self._limit = limit or AuthLimit()
        self.redactor = redactor or Redactor()
        self._run = run
        self._on_wait = on_wait or (lambda _: None)
        self._lock = asyncio.Lock()
        self._pair: Pair | None = None
        self._renew_at = 0.0  # by the monotonic clock
        self._unproven = 0
        self._refused: CredentialsRefused | None = None
        self._failures = 0  # ever
        self._failed: Transient | None = None  # the last failure
        self._failed_in_a_row = 0
        self._paused_until = 0.0  # by the monotonic clock
        self._unsent: set[float] = set()

    async def ready(self) -> None:
        """See Credentials."""
        if self._pair is None:
            await self._exchange_once(0)
        elif self._clock.monotonic() >= self._renew_at:
            await self._refresh(self._pair)

    def current(self) -> Pair | None:
        """See Credentials."""
        return self._pair

    def accepted(self, generation: int) -> None:
        """See Credentials."""
        if self._pair is not None and generation == self._pair.generation:
            self._unproven = 0

    async def renew(self, generation: int) -> None:
        """See Credentials."""
        await self._exchange_once(generation)

    async def _refresh(self, pair: Pair) -> None:
        self._renew_at = self._clock.monotonic() + _POSTPONED  # meanwhile the others go on with the old pair
        with suppress(Transient):
            await self._exchange_once(pair.generation, aged=True)

    async def _exchange_once(self, generation: int, *, aged: bool = False) -> None:
        """Have a pair younger than `generation`, by one exchange for all who wait here."""
        failures = self._failures
        async with self._lock:
            if self._refused is not None:
                raise self._refused
            if self._pair is not None and self._pair.generation > generation:
                return
            if self._failed is not None and self._failures != failures:
                raise self._failed
            try:
                await self._exchange(aged=aged)
            except Transient as error:
                self._note_failure(error)
                raise
            except CredentialsRefused as error:
                self._refused = error
                raise

    def _note_failure(self, error: Transient) -> None:
        self._failures += 1
        self._failed = error
        self._failed_in_a_row += 1
        pause = backoff(_FIRST_PAUSE, self._failed_in_a_row, _LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, self._clock.monotonic() + pause)

    async def _exchange(self, *, aged: bool) -> None:
        if not aged and self._unproven >= MOST_UNPROVEN:
            raise CredentialsRefused(
                f"the API refused (401 or 403) {MOST_UNPROVEN} temporary pairs in a row that /auth gave {self._login}"
            )
        await self._wait_until(self._paused_until)
        await self._wait_for_a_place()
        password = await self._run(self._password)
        self.redactor.add_login(self._login, password)
        login, temporary = self._read_pair(*await self._ask(self._form(password)))
        self.redactor.add_temporary(login, temporary)
        generation = self._pair.generation + 1 if self._pair else 1
        self._pair = Pair(generation, _authorization(login, temporary))
        self._renew_at = self._clock.monotonic() + LIFETIME
        self._unproven += 0 if aged else 1
        self._failed_in_a_row = 0

    async def _wait_for_a_place(self) -> None:
        """Wait until one more attempt keeps to the limit."""
        now, here = self._clock.time(), self._clock.monotonic()
        attempts = await self._ledger.attempts()
        self._unsent.intersection_update(attempts)
        # An attempt in the future was recorded before the clock was stepped back: it counts as made now.
        ends = sorted(here - max(0.0, now - at) + self._limit.window for at in attempts if at not in self._unsent)
        if len(ends) >= self._limit.attempts:
            await self._wait_until(ends[-self._limit.attempts])

    async def _wait_until(self, moment: float) -> None:
        rest = moment - self._clock.monotonic()
        if rest > _LONGEST_PAUSE:
            self._on_wait(rest)
        while rest > 0:
            await self._clock.sleep(min(rest, LONGEST_SLEEP))
            rest = moment - self._clock.monotonic()

    def _form(self, password: str) -> bytes:
        try:
            return urlencode({"tool": self._tool, "login": self._login, "password": password}).encode()
        except UnicodeEncodeError:
            raise ConfigError(f"the password of {self._login} is not proper Unicode text") from None

    async def _ask(self, form: bytes) -> tuple[int, bytes]:
        headers = accepting(self._accept) | {"Content-Type": "application/x-www-form-urlencoded"}
        at = self._clock.time()
        await self._ledger.record(at)
        try:
            async with self._transport.send(Request("POST", self._url, headers, form)) as response:
                if response.status == TOO_MANY:
                    self._hold(response.headers)
                return response.status, await read_answer(response)
        except SourceUnavailable as error:
            if error.outage is Outage.CONNECT:
                self._unsent.add(at)
            raise
        except PayloadError as error:
            raise self._unusable(error) from None

    def _hold(self, headers: Mapping[str, str]) -> None:
        """Ask no more until the server takes it: as long as it says, else for a window at most."""
        facts = read_quota_headers(headers)
        seconds = self._limit.window
        if facts.retry_after is not None:
            seconds = facts.retry_after
        elif facts.reset is not None and facts.date is not None:
            seconds = max(0.0, min(seconds, facts.reset - facts.date + 1))
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    def _read_pair(self, status: int, body: bytes) -> tuple[str, str]:
        """Return the temporary login and password in an answer."""
        written = parse_error(body)
        text = None if written is None else quoted(written, self.redactor)
        if status == OK and text is None and is_document(body):
            try:
                return parse_credentials(body)
            except PayloadError as error:
                raise self._unusable(error) from None
        if status == UNAUTHORIZED or (text is not None and status in _REFUSING):
            raise CredentialsRefused(f"/auth refuses {self._login} ({self._tool}): {text or status}")
        raise not_the_slice(status, body, text) or SourceUnavailable(
            f"/auth answered {status}: {text}", outage=Outage.NOT_API, status=status
        )

    def _unusable(self, error: PayloadError) -> SourceUnavailable:
        """Return the outage that a malformed answer to /auth amounts to: no slice is its cause."""
        return SourceUnavailable(f"/auth: {self.redactor.redact(error.detail)}", outage=Outage.NOT_API, status=OK)


def _authorization(login: str, password: str) -> str:
    try:
        return encode_basic_auth(login, password)
    except UnicodeEncodeError:
        raise ConfigError(f"the password of {escape_text(login)} is not proper Unicode text") from None
    except ValueError:
        raise ConfigError(f"the login {escape_text(login)} holds a colon, which HTTP cannot carry") from None
