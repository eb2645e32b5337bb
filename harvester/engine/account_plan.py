"""Requested days of an account, and the plan of what is missing of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from harvester.config import Account, Settings
from harvester.core.absence import AbsentSpan
from harvester.core.coverage import Span
from harvester.core.model import RangeKey, RangeLimits, Series, Stretch
from harvester.core.planning import Desire, Plan, Rules, Stored, plan_slices
from harvester.core.range_limits import RangeLimitTracker
from harvester.core.spender import spender_key
from harvester.errors import SliceRejected
from harvester.store.types import AccountIdentity, FailedRange

Range = tuple["date", "date"]  # first and last day


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRequest:
    """Days to fetch of every account."""

    days: Callable[[date], Range]  # takes today in the account's zone
    refetch: bool = False  # fetch final days too
    wait: bool = True  # until another process releases the account
    repeat: bool = True  # fetch what the process that was waited for has just fetched


def configured_series(account: Account) -> list[Series]:
    """Return every series that an account is configured to have."""
    return [
        Series(account.name, resource, phone.number, period)
        for resource in account.resources
        for period in account.periods
        for phone in account.phones
    ]


def series_count(account: Account) -> int:
    """Return how many series an account is configured to have."""
    return len(account.phones) * len(account.resources) * len(account.periods)


def identity_of(account: Account, settings: Settings) -> AccountIdentity:
    """Return the account as the store identifies it."""
    return AccountIdentity(
        name=account.name,
        base_url=account.api.base_url,
        timezone=account.timezone,
        week_start=account.week_start,
        settle_days=settings.daemon.settle_days,
        start=account.start,
        phones=[(phone.number, phone.name) for phone in account.phones],
        spender=spender_key(account.api.base_url, account.login),
    )


def stored_of(
    coverage: Mapping[Series, Sequence[Stretch]],
    failed: Iterable[FailedRange],
    absent: Mapping[Series, Sequence[AbsentSpan]],
) -> Stored:
    """Return what is stored as `plan_slices` takes it; failed slices are to be requested again."""
    again: dict[Series, list[Span]] = {}
    refused: dict[Series, list[Span]] = {}
    for failure in failed:
        span = Span(failure.first, failure.last)
        again.setdefault(failure.series, []).append(span)
        if failure.code == SliceRejected.code:
            refused.setdefault(failure.series, []).append(span)
    return Stored(coverage, again, refused, absent=absent)


def limit_trackers_of(
    account: Account, limits: Mapping[RangeKey, RangeLimits], keys: Iterable[RangeKey] | None = None
) -> dict[RangeKey, RangeLimitTracker]:
    """Return a tracker of the range limits for each resource and period.

    Args:
        account: whose.
        limits: what is known of them.
        keys: by default those of the account.
    """
    most = account.api.max_days_per_request
    wanted = {series.range_key for series in configured_series(account)} if keys is None else keys
    phones = len(account.phones)
    return {key: RangeLimitTracker(limits.get(key, RangeLimits()), most, phones) for key in wanted}


def max_days_of(limit_trackers: Mapping[RangeKey, RangeLimitTracker], now: float) -> dict[RangeKey, int]:
    """Return the days per request that are allowed at present (`now`: epoch seconds)."""
    return {key: limit_tracker.allowed(now) for key, limit_tracker in limit_trackers.items()}


def plan_account(
    account: Account,
    request: BackfillRequest,
    stored: Stored,
    limit_trackers: Mapping[RangeKey, RangeLimitTracker],
    settle_days: int,
    now: float,
) -> Plan:
    """Return the slices to request (`now`: epoch seconds)."""
    today = account.calendar.local_date(now)
    first, last = request.days(today)
    rules = Rules(account.calendar, today, settle_days, refetch=request.refetch)
    desires = [Desire(series, first, last) for series in configured_series(account)]
    return plan_slices(desires, stored, rules, max_days_of(limit_trackers, now))
