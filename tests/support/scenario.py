"""A coordinator with its clock, outcome by outcome, without network, store or event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from zoneinfo import ZoneInfo

from harvester.core.model import RangeLimits, RunReport, Series, Slice
from harvester.core.period import Calendar, Period
from harvester.core.planning import Plan
from harvester.core.range_limits import RangeLimitTracker
from harvester.core.work_queue import Entry
from harvester.errors import HarvesterError, Outage, SliceRejected, SourceUnavailable, Unauthorized
from harvester.events import Event
from harvester.runner.coordinator import AccountContext, Coordinator

CALENDAR = Calendar(ZoneInfo("America/New_York"))
NOON = 1_704_128_400.0  # 2024-01-01 12:00 in New York
SERVER_ERROR = SourceUnavailable("500: Unknown error.", outage=Outage.SERVER, status=500)
CLOSED = SourceUnavailable("the connection closed", outage=Outage.CLOSED)
CONNECTION_REFUSED = SourceUnavailable("cannot connect", outage=Outage.CONNECT)
REJECTED = SliceRejected("400")


@dataclass
class Scenario:
    """A coordinator with its clock and the events that it emitted."""

    phones: Sequence[str] = ("1", "2", "3", "4", "5")
    first: date = date(2023, 1, 1)
    last: date = date(2023, 12, 31)
    accepted: int | None = 366
    already_covered: int = 0
    now: float = 1000.0
    emitted: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limit_tracker = RangeLimitTracker(RangeLimits(self.accepted), 366)
        slices = [Slice(Series("main", "performance", one, Period.DAY), self.first, self.last) for one in self.phones]
        context = AccountContext(
            calendar=CALENDAR,
            now=lambda: self.now,
            epoch_now=lambda: NOON + self.now,
            jitter=lambda: 0.5,
            limit_trackers={("performance", Period.DAY): self.limit_tracker},
            emit=lambda event, /, **_: self.emitted.append(event),
        )
        self.coordinator = Coordinator(Plan(slices, self.already_covered), context, RunReport("main"))

    def take(self) -> tuple[Entry, int]:
        taken = self.coordinator.take()
        assert taken is not None
        return taken

    def answer(self, taken: tuple[Entry, int] | None = None) -> bool:
        taken = taken or self.take()
        self.coordinator.answered(*taken)
        changed = bool(self.coordinator.take_changed_limits())
        self.coordinator.in_flight -= 1
        return changed

    def fail(self, error: HarvesterError, taken: tuple[Entry, int] | None = None) -> int | None:
        entry, _ = taken or self.take()
        generation = self.coordinator.failed(entry, error)
        self.coordinator.in_flight -= 1
        return generation

    def decide(self, *earlier: str) -> int | None:
        """Let the coordinator decide; `earlier` are the phones that an earlier run was answered for."""
        if self.coordinator.needs_controls:
            self.coordinator.load_controls([answered_before(phone) for phone in earlier])
        return self.coordinator.decide()

    def due(self) -> None:
        """Wait for the next try."""
        moment = self.coordinator.next_due()
        assert moment is not None
        self.now = max(self.now, moment)


def answered_before(phone: str) -> Slice:
    return Slice(Series("main", "performance", phone, Period.DAY), date(2023, 12, 30), date(2023, 12, 30))


def unauthorized(generation: int = 1) -> Unauthorized:
    return Unauthorized("401", generation=generation)
