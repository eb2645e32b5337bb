"""The nouns of the harvest: Series, Slice, Page, Batch, and what became of them.

Account - Resource (performance, volume...) - Period - Series = (account, resource, phone, period) - Slice =
(series, first day, last day): the unit of request, retry and commit. A Page is one answer as the server sent it,
a Batch the same after it was judged against the slice that asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from harvester.core.period import Period

ALL = "ALL"  # the pseudo number under which VoiceTrends merges all phones of an account
RESOURCES = ("performance", "volume", "events", "profile")


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """What is harvested as one line over time."""

    account: str
    resource: str
    phone: str
    period: Period

    def __str__(self) -> str:
        return f"{self.account} {self.resource} {self.phone} {self.period}"


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of one series, both days inclusive: one request."""

    series: Series
    first: date
    last: date

    @property
    def days(self) -> int:
        """The width, in days."""
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        return f"{self.series} {self.first}..{self.last}"


class InvalidValue(NamedTuple):
    """Something in the place of a number that no number can be made of: its text (cut to 200), and why not."""

    text: str
    reason: str


Raw = int | float | None | InvalidValue
"""What a payload holds for one timestamp: a number, null, or something else."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: for each metric what stands beside each timestamp text, in the server's order.

    `sent_at` is the server's epoch second at which the request left, at the earliest that it can have been.
    `metrics` maps the metric's name to (timestamp text, raw value) pairs: pairs, because a key may come twice.
    """

    slice: Slice
    sent_at: int
    metrics: Mapping[str, Sequence[tuple[str, Raw]]]


class Reject(NamedTuple):
    """A value that could not be taken."""

    metric: str
    timestamp: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A judged answer, ready to be stored.

    `grid` maps the epoch of each period that was asked for to its first day; `values` maps each metric to
    (epoch, number or None) pairs, every epoch in `grid` and none twice; `absent` holds the first days of the periods
    for which no metric had an entry.
    """

    slice: Slice
    sent_at: int
    grid: Mapping[int, date]
    values: Mapping[str, Sequence[tuple[int, float | None]]]
    rejects: Sequence[Reject] = ()
    absent: Sequence[date] = ()


@dataclass(frozen=True, slots=True)
class Stretch:
    """Days of a series that were asked for and stored: one piece of its coverage.

    Every period in it was asked for on `asked_on` or later (a local day by the server's clock), and at least `lag`
    days after its own end; both are lower bounds, so pieces can be joined without claiming too much.
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
    """What became of values. `absent` counts periods, the others values."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    absent: int = 0

    def add(self, other: RowCounts) -> None:
        """Sum up in place."""
        self.new += other.new
        self.changed += other.changed
        self.unchanged += other.unchanged
        self.rejected += other.rejected
        self.absent += other.absent


@dataclass(slots=True)
class SliceCounts:
    """What became of slices."""

    planned: int = 0
    done: int = 0
    failed: int = 0
    already_covered: int = 0


@dataclass(slots=True)
class RunReport:
    """What one drained plan did for one account."""

    account: str
    requests: int = 0
    rate_limited: int = 0
    retries: int = 0
    slices: SliceCounts = field(default_factory=SliceCounts)
    rows: RowCounts = field(default_factory=RowCounts)
    failed: list[FailedSlice] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class QuotaRecord:
    """What is known of one account's window, written down before it is spent.

    A process that starts later may send `min(remaining, limit - reserve - spent)` more requests until `resets_at`.
    """

    limit: int  # requests per window
    spent: int  # requests of ours that this window has counted or may count, allowance already handed out included
    remaining: int | None  # lowest X-RateLimit-Remaining seen for this window, less what was handed out since
    resets_at: int | None  # server's epoch second at which the window ends
    server_ahead: float  # seconds by which the server's clock was ahead of the host's
    recorded_at: float  # host's epoch seconds

    def left(self, reserve: int) -> int:
        """Return how many more requests may be sent in this window if `reserve` of them are conceded to others."""
        ours = usable_limit(self.limit, reserve) - self.spent
        return max(0, ours if self.remaining is None else min(ours, self.remaining))


def usable_limit(limit: int, reserve: int) -> int:
    """Return how many requests per window may be sent: the limit less the reserve, and one at least."""
    return max(1, limit - reserve)


@dataclass(frozen=True, slots=True)
class RangeLimits:
    """How wide a range the server takes for one account and resource, as far as answers have shown, in days."""

    accepted: int | None = None  # widest range that was answered
    refused: int | None = None  # narrowest range that was refused for its width
    refused_at: int | None = None  # server's epoch second of that refusal
