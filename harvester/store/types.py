"""Records that the store accepts and returns, besides values: plain data, free of SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from harvester.core.absence import AbsentSpan
from harvester.core.model import QuotaRecord, RangeKey, RangeLimits, Series, Stretch
from harvester.core.period import Period, WeekStart


@dataclass(frozen=True, slots=True)
class AccountIdentity:
    """An account as configured. All stored days depend on `timezone` and `week_start`."""

    name: str
    base_url: str
    timezone: str  # IANA name
    week_start: WeekStart
    settle_days: int
    start: date | None = None  # the daemon's first day
    phones: Sequence[tuple[str, str | None]] = ()  # number, name
    spender: str = ""  # core.spender.spender_key; empty: not known, no other account has it

    @property
    def quota_key(self) -> str:
        """The key of the quota in which the account's requests are counted."""
        return self.spender or own_quota_key(self.name)


def own_quota_key(account: str) -> str:
    """Return the key of an account whose API and login are not known, as before version 0004 of the schema."""
    return f"account {account}"


def other_days(stored: AccountIdentity, configured: AccountIdentity, periods: Collection[Period]) -> dict[str, str]:
    """Return the settings whose change would give the stored rows of an account another meaning.

    Args:
        stored: the account as it was when its rows were stored.
        configured: the account as it is configured now.
        periods: of the series that have coverage. Days and months do not depend on the start of weeks.

    Returns:
        By setting, the problem and its solution in one line; empty if the rows fit.
    """
    settings = (
        ("timezone", stored.timezone, configured.timezone, bool(periods)),
        ("week_start", stored.week_start, configured.week_start, Period.WEEK in periods),
    )
    return {
        setting: f'accounts.{configured.name}.{setting}: the stored rows were fetched with "{before}",'
        f' the configuration says "{now}"; set it back, or give the account another name or a new database'
        for setting, before, now, matters in settings
        if matters and before != now
    }


@dataclass(frozen=True, slots=True)
class AccountHeld:
    """Another claim holds the account."""

    holder: str  # "pid 123 on host", "this process", or "another process" if unknown


class RecordedState(StrEnum):
    """The state of an account as stored for `status`."""

    OK = "ok"
    WAITING = "waiting"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class BackfillOrder:
    """A range that a backfill wants of the process that holds its account. Both days inclusive."""

    id: int
    owner: str  # the process that placed it: "pid 123 on host"
    first: date
    last: date
    refetch: bool
    series: tuple[Series, ...]
    report: str  # the last one stored, perhaps by an earlier holder; "" before the first


class OrderState(StrEnum):
    """The state of an order."""

    PLACED = "placed"
    WORKING = "working"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class OrderProgress:
    """The progress of an order. `error` is the code and the message of the error that ended it, if one did."""

    state: OrderState
    report: str
    error: tuple[str, str] | None


class FailedRange(NamedTuple):
    """A failed slice as stored. Both days inclusive, `failed_at` in epoch seconds."""

    series: Series
    first: date
    last: date
    code: str  # HarvesterError.code of what ended it
    error: str
    failed_at: int
    attempts: int


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """The stored state of one series."""

    series: Series
    first: date | None  # first day of the first and of the last period that has a value
    last: date | None
    coverage: Sequence[Stretch]
    absent: int  # periods that the newest answer lacked
    failed: Sequence[FailedRange]
    unconfirmed: Sequence[AbsentSpan] = ()  # those of the absent periods that are asked for again


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """The stored state of one account."""

    identity: AccountIdentity
    state: RecordedState
    reason: str
    holder: str
    answer: str
    answered_at: int | None  # epoch second
    quota: QuotaRecord | None
    range_limits: Mapping[RangeKey, RangeLimits] = field(default_factory=dict)
    series: Sequence[SeriesStatus] = ()


class SchemaFit(StrEnum):
    """The schema of a database compared with the one that this program needs."""

    HEAD = "head"
    BEHIND = "behind"
    NEWER = "newer"
    EMPTY = "empty"
    MISSING = "missing"  # PostgreSQL has no schema of this name
    FOREIGN = "foreign"  # no schema of the harvester, but tables of another program


class SchemaState(NamedTuple):
    """The schema found in a database."""

    fit: SchemaFit
    revision: str | None
    obstacle: str = ""  # what would make a migration fail, and the way out
    elsewhere: tuple[str, ...] = ()  # other schemas of the database with the harvester's tables, if this one has none
