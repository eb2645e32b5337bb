"""What goes into and comes out of the store besides values: plain records, free of SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from harvester.core.period import Period, WeekStart

if TYPE_CHECKING:
    from harvester.core.model import QuotaRecord, RangeLimits, Series, Stretch


@dataclass(frozen=True, slots=True)
class AccountIdentity:
    """An account as configured. `timezone` and `week_start` give all stored days their meaning."""

    name: str
    base_url: str
    timezone: str  # IANA name
    week_start: WeekStart
    settle_days: int
    start: date | None = None  # the daemon's first day
    phones: Sequence[tuple[str, str | None]] = ()  # number, name


def other_days(stored: AccountIdentity, configured: AccountIdentity, periods: Collection[Period]) -> dict[str, str]:
    """What keeps an account from going on with its stored rows: they have other days or weeks.

    Args:
        stored: the account as its rows were harvested.
        configured: the account as it is now to be harvested.
        periods: of the series that hold anything. Days and months do not depend on where weeks begin.

    Returns:
        By setting, the problem and the way out in one line; empty where all fits.
    """
    settings = (
        ("timezone", stored.timezone, configured.timezone, bool(periods)),
        ("week_start", stored.week_start, configured.week_start, Period.WEEK in periods),
    )
    return {
        setting: f'accounts.{configured.name}.{setting}: what is stored was harvested with "{before}", not "{now}": '
        f"set it back, or give the account another name or a new database"
        for setting, before, now, matters in settings
        if matters and before != now
    }


@dataclass(frozen=True, slots=True)
class AccountHeld:
    """Another spender works the account."""

    holder: str  # "pid 123 on host", or words for somebody unknown


class RecordedState(StrEnum):
    """How an account fares."""

    OK = "ok"
    WAITING = "waiting"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class BackfillOrder:
    """What a backfill wants of the process that holds its account. Both days inclusive."""

    id: int
    owner: str  # who placed it: "pid 123 on host"
    first: date
    last: date
    refetch: bool
    series: tuple[Series, ...]
    report: str  # what was last reported of it, perhaps by a spender that is dead now; "" at first


class OrderState(StrEnum):
    """How far an order has come."""

    PLACED = "placed"
    WORKING = "working"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class OrderProgress:
    """What became of an order until now. `error` is the code and the message of what ended it, if anything did."""

    state: OrderState
    report: str
    error: tuple[str, str] | None


class FailedRange(NamedTuple):
    """A failed slice as stored. Both days inclusive, `failed_at` in epoch seconds."""

    series: Series
    first: date
    last: date
    code: str  # the HarvesterError.code of what ended it
    error: str
    failed_at: int
    attempts: int


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """What is stored of one series."""

    series: Series
    first: date | None  # first and last period that has a value
    last: date | None
    coverage: Sequence[Stretch]
    absent: int  # periods that the newest answer to them lacked
    failed: Sequence[FailedRange]


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """What is stored of one account."""

    identity: AccountIdentity
    state: RecordedState
    reason: str
    holder: str
    answer: str
    answered_at: int | None  # epoch second
    quota: QuotaRecord | None
    range_limits: Mapping[str, RangeLimits] = field(default_factory=dict)
    series: Sequence[SeriesStatus] = ()


class SchemaFit(StrEnum):
    """How a database's schema stands to what this program needs."""

    HEAD = "head"
    BEHIND = "behind"
    NEWER = "newer"
    EMPTY = "empty"
    FOREIGN = "foreign"  # no schema of ours, but tables of somebody else's


class SchemaState(NamedTuple):
    """The schema found in a database."""

    fit: SchemaFit
    revision: str | None
