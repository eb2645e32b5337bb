"""What is wanted of an account, and what there is to ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from harvester.core.coverage import Span
from harvester.core.model import RangeLimits, Series, Stretch
from harvester.core.planning import Desire, Plan, Rules, Stored, plan_slices
from harvester.core.refusal import RangeLimitTracker
from harvester.errors import SliceRejected
from harvester.store.types import AccountIdentity, FailedRange

if TYPE_CHECKING:
    from harvester.config import Account, Settings

Range = tuple["date", "date"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRequest:
    """What is wanted of an account."""

    days: Callable[[date], Range]  # given the account's today: first and last day
    refetch: bool = False
    wait: bool = True  # for whoever holds the account


def configured_series(account: Account) -> list[Series]:
    """Every series that an account is configured to have."""
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
    """The account as the store knows it."""
    return AccountIdentity(
        name=account.name,
        base_url=account.api.base_url,
        timezone=account.timezone,
        week_start=account.week_start,
        settle_days=settings.daemon.settle_days,
        start=account.start,
        phones=[(phone.number, phone.name) for phone in account.phones],
    )


def stored_of(coverage: Mapping[Series, Sequence[Stretch]], failed: Iterable[FailedRange]) -> Stored:
    """What the store holds, as planning wants it: failed slices are to be asked for again."""
    again: dict[Series, list[Span]] = {}
    refused: dict[Series, list[Span]] = {}
    for failure in failed:
        span = Span(failure.first, failure.last)
        again.setdefault(failure.series, []).append(span)
        if failure.code == SliceRejected.code:
            refused.setdefault(failure.series, []).append(span)
    return Stored(coverage, again, refused)


def limit_trackers_of(
    account: Account, widths: Mapping[str, RangeLimits], resources: Iterable[str] | None = None
) -> dict[str, RangeLimitTracker]:
    """What is known of the widths that the server takes, by resource; the account's, if no others are named."""
    most = account.api.max_days_per_request
    wanted = account.resources if resources is None else resources
    return {resource: RangeLimitTracker(widths.get(resource, RangeLimits()), most) for resource in wanted}


def plan_account(
    account: Account,
    request: BackfillRequest,
    stored: Stored,
    limit_trackers: Mapping[str, RangeLimitTracker],
    settle_days: int,
    now: float,
) -> Plan:
    """What there is to ask for (`now`: epoch seconds)."""
    today = account.calendar.local_date(now)
    first, last = request.days(today)
    rules = Rules(account.calendar, today, settle_days, refetch=request.refetch)
    widths = {resource: limit_tracker.allowed(now) for resource, limit_tracker in limit_trackers.items()}
    return plan_slices([Desire(series, first, last) for series in configured_series(account)], stored, rules, widths)
