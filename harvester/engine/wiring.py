"""Builders of the parts that talk to the API and the database, the same for every command.

The HTTP client is imported by the functions that need it: a backfill that finds nothing to do runs without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from threading import Event
from typing import TYPE_CHECKING

from harvester import config
from harvester.clock import Clock
from harvester.config import Account, Settings
from harvester.core.quota import Quota
from harvester.redaction import Redactor
from harvester.store.account_store import AccountStore
from harvester.store.claims import Database
from harvester.throttle import QuotaLedger, Throttle

if TYPE_CHECKING:
    from harvester.source.credentials import DirectCredentials
    from harvester.source.http import HttpSource
    from harvester.source.tool_credentials import ToolCredentials
    from harvester.source.transport import AiohttpTransport, Transport


def build_database(settings: Settings, environ: Mapping[str, str], *, ending: Event | None = None) -> Database:
    """Return the configured database; nothing is opened yet. A `password_command` may take long.

    Raises:
        ConfigError: its password is not readable, or its URL is invalid.
        Interrupted: `ending` was set while a command ran.
    """
    database = settings.database
    password = config.database_password(settings, environ, ending=ending)
    return Database(database.url, database.schema, password, auto_migrate=database.auto_migrate)


def build_transport(account: Account) -> AiohttpTransport:
    """Return the account's HTTP transport, to be entered.

    Raises:
        ConfigError: `ca_file` cannot be used.
    """
    from harvester.source.transport import AiohttpTransport

    api = account.api
    return AiohttpTransport(timeout=api.timeout, proxy=api.proxy, ca_file=api.ca_file)


def build_throttle(
    account: Account,
    *,
    clock: Clock,
    ledger: QuotaLedger,
    slots: asyncio.Semaphore,
    on_wait: Callable[[float | None], None] | None = None,
    on_skew: Callable[[float], None] | None = None,
) -> Throttle:
    """Return the account's throttle, to be opened and closed; `on_wait` and `on_skew` are those of `Throttle`."""
    quota = Quota(
        limit=account.quota.limit,
        window=account.quota.window,
        reserve=account.quota.reserve,
        now=clock.monotonic(),
        host=clock.time(),
        fastest=account.api.max_rate,
    )
    return Throttle(clock=clock, quota=quota, ledger=ledger, slots=slots, on_wait=on_wait, on_skew=on_skew)


def build_source(
    account: Account,
    *,
    transport: Transport,
    clock: Clock,
    store: AccountStore,
    password: Callable[[], str],
    on_auth_wait: Callable[[float], None],
    run_blocking: Callable[[Callable[[], str]], Awaitable[str]] = asyncio.to_thread,
) -> HttpSource:
    """Return the API as the account may use it.

    Args:
        account: whose login and settings are used.
        transport: sends the requests.
        clock: for waits.
        store: stores the times of authentications.
        password: returns the account's password; called through `run_blocking`.
        on_auth_wait: called with the seconds of a wait for the limit of /auth.
        run_blocking: calls a function that may take long.
    """
    from harvester.source.credentials import DirectCredentials
    from harvester.source.http import HttpSource
    from harvester.source.tool_credentials import AuthLimit, ToolCredentials

    api = account.api
    redactor = Redactor()
    redactor.add_url_login(api.proxy)
    credentials: DirectCredentials | ToolCredentials
    if account.tool is None:
        credentials = DirectCredentials(account.login, password, redactor=redactor, run_blocking=run_blocking)
    else:
        credentials = ToolCredentials(
            transport,
            clock,
            StoredAuthLedger(store),
            base_url=api.base_url,
            tool=account.tool,
            login=account.login,
            password=password,
            body_format=api.format,
            limit=AuthLimit(window=account.quota.window),
            redactor=redactor,
            run_blocking=run_blocking,
            on_wait=on_auth_wait,
        )
    return HttpSource(transport, credentials, base_url=api.base_url, body_format=api.format, method=api.method)


class StoredAuthLedger:
    """Account store as the ledger of authentications (source.credentials.AuthLedger)."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store

    async def attempts(self) -> list[float]:
        """See AuthLedger."""
        return await self._store.auth_attempts()

    async def record(self, at: float) -> None:
        """See AuthLedger."""
        await self._store.record_auth_attempt(at)
