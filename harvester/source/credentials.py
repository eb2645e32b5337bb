"""Credentials of data requests: the protocol that HttpSource uses, and its implementation for accounts without `tool`.

A credential pair has a generation number, so that a late 401 for an old pair causes no renewal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import encode_basic_auth

from harvester.errors import ConfigError, CredentialsRefused
from harvester.parsing.payload import escape_text
from harvester.redaction import Redactor

PAUSE_BEFORE_RETRY = 10.0  # seconds before a pair that was accepted and then refused is tried once more

RunBlocking = Callable[[Callable[[], str]], Awaitable[str]]
"""Calls a function that may block, and returns its result."""


@dataclass(frozen=True, slots=True)
class CredentialPair:
    """A login and password, as the Authorization header of a data request."""

    generation: int
    authorization: str = field(repr=False)


class Credentials(Protocol):
    """Credentials of one account."""

    @property
    def redactor(self) -> Redactor:
        """Filter for the texts of the API; it knows every secret that was sent to it."""
        ...

    async def ready(self) -> None:
        """Make sure that there is a pair which has not been refused.

        Raises:
            CredentialsRefused: the API refuses the login.
            ConfigError: the password is unreadable, or HTTP cannot carry it.
            Transient: no usable answer came.
        """
        ...

    def current(self) -> CredentialPair | None:
        """Return the newest pair; None before `ready`."""
        ...

    def accepted(self, generation: int) -> None:
        """Record that a data request with the pair of this generation was answered."""
        ...

    async def renew(self, generation: int) -> None:
        """Replace the pair of this generation, because it was refused.

        Raises:
            CredentialsRefused: the pair cannot be renewed, or the API refuses the login.
            ConfigError, Transient: as `ready`.
        """
        ...


class DirectCredentials:
    """Login and password that the data resources accept as they are.

    Args:
        login: of the account.
        password: returns the password; called once, when a pair is first needed.
        redactor: learns every secret that is sent; a new one if not given.
        run_blocking: calls `password`, which may start a slow command.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        login: str,
        password: Callable[[], str],
        *,
        redactor: Redactor | None = None,
        run_blocking: RunBlocking = asyncio.to_thread,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.redactor = redactor or Redactor()
        self._login = login
        self._password = password
        self._run_blocking = run_blocking
        self._sleep = sleep
        self._pair: CredentialPair | None = None
        self._accepted = False  # since the pair was tried last

    async def ready(self) -> None:
        """See Credentials."""
        if self._pair is None:
            password = await self._run_blocking(self._password)
            self.redactor.add_login(self._login, password)
            self._pair = CredentialPair(1, authorization(self._login, password))

    def current(self) -> CredentialPair | None:
        """See Credentials."""
        return self._pair

    def accepted(self, generation: int) -> None:
        """See Credentials."""
        if self._pair is not None and generation == self._pair.generation:
            self._accepted = True

    async def renew(self, generation: int) -> None:
        """Try the pair once more after a pause if it was accepted before: it may meet a limit on bursts.

        See Credentials.
        """
        if self._pair is None or generation < self._pair.generation:
            return
        if not self._accepted:
            raise CredentialsRefused(
                f"{self._login} was refused (401 or 403); without `tool` there is no way to renew its credentials"
            )
        self._accepted = False
        self._pair = CredentialPair(generation + 1, self._pair.authorization)
        await self._sleep(PAUSE_BEFORE_RETRY)


def authorization(login: str, password: str) -> str:
    """Return the value of a Basic Authorization header.

    Raises:
        ConfigError: HTTP cannot carry the login or the password.
    """
    try:
        return encode_basic_auth(login, password)
    except UnicodeEncodeError:
        raise ConfigError(f"the password of {escape_text(login)} is not valid Unicode text") from None
    except ValueError:
        raise ConfigError(f"the login {escape_text(login)} contains a colon, which HTTP cannot carry") from None
