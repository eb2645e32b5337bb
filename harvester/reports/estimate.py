"""Estimate of a backfill's requests and duration, from configuration and database alone: the `plan` command."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harvester import config
from harvester.config import Account, Settings
from harvester.console.text import counted, duration
from harvester.core.eta import Supply, estimate_eta
from harvester.core.model import QuotaRecord, RangeKey, RangeLimits, usable_limit
from harvester.core.planning import Stored
from harvester.database.dsn import parse
from harvester.engine.account_plan import (
    BackfillRequest,
    identity_of,
    limit_trackers_of,
    plan_account,
    series_count,
    stored_of,
)
from harvester.errors import ConfigError, describe_error
from harvester.store.reader import Reader
from harvester.store.schema_state import refuse_elsewhere, schema_state_of
from harvester.store.types import AccountStatus, SchemaFit, other_days


@dataclass(frozen=True, slots=True)
class AccountEstimate:
    """Cost of one account. There is one request per slice, unless answers make more necessary."""

    name: str
    series: int
    requests: int
    windows: int
    seconds: float
    already_covered: int
    per_window: int  # requests
    window: int  # seconds


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cost of all accounts, which run side by side."""

    accounts: Sequence[AccountEstimate]

    @property
    def requests(self) -> int:
        """Requests of all accounts."""
        return sum(account.requests for account in self.accounts)

    @property
    def seconds(self) -> float:
        """Duration of the slowest account."""
        return max((account.seconds for account in self.accounts), default=0.0)


@dataclass(frozen=True, slots=True)
class _StoredAccount:
    """Stored state of an account."""

    stored: Stored
    range_limits: Mapping[RangeKey, RangeLimits]
    quota: QuotaRecord | None


def estimate(settings: Settings, request: BackfillRequest, environ: Mapping[str, str]) -> Estimate:
    """Plan every account as a backfill started now would.

    Raises:
        ConfigError: no account is configured, or stored days have another zone or week start.
        StoreError: the database exists and cannot be read, or the configured schema is not the one with the tables.
    """
    config.require_accounts(settings)
    now = time.time()
    stored = _stored_accounts(settings, environ)
    return Estimate(
        [
            _estimate_account(account, settings, request, stored.get(name), now)
            for name, account in settings.accounts.items()
        ]
    )


def _stored_accounts(settings: Settings, environ: Mapping[str, str]) -> dict[str, _StoredAccount]:
    """Return the stored state by account name; none where the database does not exist yet."""
    database = settings.database
    password = config.database_password(settings, environ)
    target = parse(database.url, database.schema, password)
    state = schema_state_of(target)
    if state.fit in {SchemaFit.EMPTY, SchemaFit.MISSING}:
        refuse_elsewhere(target, state)  # what is stored there would be planned again
        return {}
    with Reader(database.url, database.schema, password) as reader:
        found = reader.accounts()
        _refuse_other_days(settings, found)
        return {
            status.identity.name: _StoredAccount(
                stored_of(
                    {one.series: one.coverage for one in status.series},
                    [failed for one in status.series for failed in one.failed],
                    {one.series: one.unconfirmed for one in status.series if one.unconfirmed},
                ),
                status.range_limits,
                status.quota,
            )
            for status in found
            if status.identity.name in settings.accounts
        }


def _refuse_other_days(settings: Settings, found: Sequence[AccountStatus]) -> None:
    """Refuse stored days of another zone or week start: they cannot be subtracted from the requested ones.

    Raises:
        ConfigError: there are such days.
    """
    problems: list[str] = []
    for status in found:
        account = settings.accounts.get(status.identity.name)
        if account is not None:
            periods = {one.series.period for one in status.series if one.coverage}
            problems += other_days(status.identity, identity_of(account, settings), periods).values()
    if problems:
        raise ConfigError(*problems)


def _estimate_account(
    account: Account, settings: Settings, request: BackfillRequest, stored: _StoredAccount | None, now: float
) -> AccountEstimate:
    stored = stored or _StoredAccount(Stored({}, {}), {}, None)
    limit_trackers = limit_trackers_of(account, stored.range_limits)
    plan = plan_account(account, request, stored.stored, limit_trackers, settings.daemon.settle_days, now)
    supply = _supply(account, stored.quota, now)
    windows, seconds = estimate_eta(len(plan.slices), supply)
    return AccountEstimate(
        name=account.name,
        series=series_count(account),
        requests=len(plan.slices),
        windows=windows,
        seconds=seconds,
        already_covered=plan.already_covered,
        per_window=supply.per_window,
        window=account.quota.window,
    )


def _supply(account: Account, record: QuotaRecord | None, now: float) -> Supply:
    """Return the quota as the last process recorded it, or else a whole configured window."""
    quota = account.quota
    limit = record.limit if record else quota.limit
    per_window = usable_limit(limit, quota.reserve)
    left, until_reset = per_window, quota.window - now % quota.window
    if record is not None and record.resets_at is not None:
        ends_in = record.resets_at - (now + record.server_ahead)
        if 0 < ends_in <= quota.window:
            until_reset = ends_in
            left = record.left(quota.reserve)
    return Supply(per_window, quota.window, account.api.max_rate, left, until_reset)


def as_json(estimate: Estimate, error: Exception | None = None) -> dict[str, Any]:
    """Return the object that `plan --json` prints; with an error, that of an empty estimate."""
    return {
        "slices": estimate.requests,
        "requests": estimate.requests,
        "windows": max((account.windows for account in estimate.accounts), default=0),
        "eta_seconds": round(estimate.seconds, 1),
        "already_covered_slices": sum(account.already_covered for account in estimate.accounts),
        "accounts": [
            {
                "name": account.name,
                "series": account.series,
                "slices": account.requests,
                "requests": account.requests,
                "windows": account.windows,
                "eta_seconds": round(account.seconds, 1),
                "already_covered_slices": account.already_covered,
            }
            for account in estimate.accounts
        ],
        "error": describe_error(error),
    }


def lines(estimate: Estimate) -> list[str]:
    """Return the lines that `plan` prints."""
    text = [_line(account) for account in estimate.accounts]
    if len(text) > 1:
        text.append(f"total: {counted(estimate.requests, 'request')}, about {duration(estimate.seconds)}")
    return text


def _line(account: AccountEstimate) -> str:
    covered = f"; {counted(account.already_covered, 'slice')} already covered" if account.already_covered else ""
    if not account.requests:
        return f"{account.name}: nothing to request for {account.series} series{covered}"
    return (
        f"{account.name}: {counted(account.requests, 'request')} for {account.series} series in "
        f"{counted(account.windows, 'quota window')} of {account.per_window} per {duration(account.window)}, "
        f"about {duration(account.seconds)}{covered}"
    )
