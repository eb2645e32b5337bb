"""Data model of the harvester: Series, Slice, Page, Batch, and the outcome of each.

Account - Resource (performance, volume...) - Period - Series = (account, resource, phone, period) - Slice =
(series, first day, last day): the unit of request, retry and commit. A Page is one answer as the server sent it; a
Batch is the same answer after it was checked against the slice that asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple, Self

from harvester.core.period import Period

ALL = "ALL"  # the pseudo number under which VoiceTrends merges all phones of an account
RESOURCES = ("performance", "volume", "events", "profile")

RangeKey = tuple[str, Period]
"""A resource and a period: what range limits are learnt for, because the server's work depends on both."""


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """A resource of one phone in periods of one length: one time series."""

    account: str
    resource: str
    phone: str
    period: Period

    @property
    def range_key(self) -> RangeKey:
        """The key under which the range limits of the series are learnt."""
        return self.resource, self.period

    def __str__(self) -> str:
        return f"{self.account} {self.resource} {self.phone} {self.period}"


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive days of a series, both ends included: one request."""

    series: Series
    first: date
    last: date

    @property
    def days(self) -> int:
        """The width in days."""
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        return f"{self.series} {self.first}..{self.last}"


class InvalidValue(NamedTuple):
    """A value that cannot be read as a number: its text (at most 200 characters) and the reason."""

    text: str
    reason: str


Raw = int | float | None | InvalidValue
"""A value in a payload: a number, null, or something else."""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer as the server sent it.

    `sent_at` is the earliest server's epoch second at which the request can have left. `metrics` maps the name of a
    metric to (timestamp text, raw value) pairs in the server's order: pairs, because a key may come twice.
    """

    slice: Slice
    sent_at: int
    metrics: Mapping[str, Sequence[tuple[str, Raw]]]


class Reject(NamedTuple):
    """A value that could not be stored, with the reason."""

    metric: str
    timestamp: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A checked answer, ready to be stored.

    `grid` maps the epoch of each requested period to its first day. `values` maps each metric to (epoch, number or
    None) pairs, every epoch in `grid` and none twice. `absent` holds the first days of the periods without any entry.
    `repeats_absence`: all its periods were absent from an earlier answer of this run, which counted them.
    """

    slice: Slice
    sent_at: int
    grid: Mapping[int, date]
    values: Mapping[str, Sequence[tuple[int, float | None]]]
    rejects: Sequence[Reject] = ()
    absent: Sequence[date] = ()
    repeats_absence: bool = False


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive days of a series that were asked for and stored: a part of its coverage.

    Every period in it was asked for on `asked_on` or later (a local day by the server's clock), and at least `lag`
    days after its own end. Both are lower bounds, so stretches can be joined without claiming too much.
    """

    first: date
    last: date
    asked_on: date
    lag: int


@dataclass(frozen=True, slots=True)
class FailedSlice:
    """A slice that was given up, and the error that ended it."""

    slice: Slice
    code: str  # HarvesterError.code
    error: str  # the message, in one line


@dataclass(slots=True)
class RowCounts:
    """Outcomes of values. `absent` counts periods, the others count values."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    absent: int = 0

    def add(self, other: Self) -> None:
        """Add the counts of `other` to these."""
        self.new += other.new
        self.changed += other.changed
        self.unchanged += other.unchanged
        self.rejected += other.rejected
        self.absent += other.absent


@dataclass(slots=True)
class SliceCounts:
    """Outcomes of slices."""

    planned: int = 0
    done: int = 0
    failed: int = 0
    already_covered: int = 0


@dataclass(slots=True)
class RunReport:
    """Outcome of one plan for one account."""

    account: str
    requests: int = 0
    rate_limited: int = 0
    retries: int = 0
    slices: SliceCounts = field(default_factory=SliceCounts)
    rows: RowCounts = field(default_factory=RowCounts)
    failed: list[FailedSlice] = field(default_factory=list)
    unconfirmed_absent: int = 0  # absent periods of the account's series that are to be asked for again


@dataclass(frozen=True, slots=True)
class QuotaRecord:
    """State of an account's quota window, stored before the quota is spent.

    A process that starts later may send `left(reserve)` more requests until `resets_at`.
    """

    limit: int  # requests per window
    spent: int  # own requests that this window has counted or may count, those granted in advance included
    remaining: int | None  # lowest X-RateLimit-Remaining seen for this window, less what was granted since
    resets_at: int | None  # server's epoch second at which the window ends
    server_ahead: float  # seconds by which the server's clock was ahead of the host's
    recorded_at: float  # host's epoch seconds

    def left(self, reserve: int) -> int:
        """Return the number of requests that may still be sent in this window, with `reserve` left to others."""
        ours = usable_limit(self.limit, reserve) - self.spent
        return max(0, ours if self.remaining is None else min(ours, self.remaining))


def usable_limit(limit: int, reserve: int) -> int:
    """Return the number of requests that may be sent per window: the limit less the reserve, but at least 1."""
    return max(1, limit - reserve)


@dataclass(frozen=True, slots=True)
class RangeLimits:
    """Ranges that the server accepts for one account, resource and period, as far as answers have shown."""

    accepted: int | None = None  # days of the widest range that was answered
    refused: int | None = None  # days of the narrowest range that was refused for its width
    refused_at: int | None = None  # server's epoch second of that refusal
    first_served: date | None = None  # day on which the figures of the last phone that was searched begin
    lag: int | None = None  # days from the last day that is served to today
    lag_at: int | None = None  # epoch second at which `lag` was found; None: for one phone of several, so far
