"""How an account fares under the daemon: what readiness, metrics and systemd's status line are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from harvester.core.model import RowCounts, RunReport
from harvester.errors import Unreachable

if TYPE_CHECKING:
    from harvester.config import Account
    from harvester.daemon.reconcile import ReconcilePlan
    from harvester.runner.coordinator import Coordinator
    from harvester.throttle import Throttle


class Phase(StrEnum):
    """What an account's keeper is doing."""

    STARTING = "starting"
    STANDBY = "standby"  # another process holds the account
    WORKING = "working"
    IDLE = "idle"  # complete and fresh
    PAUSED = "paused"  # credentials, calendar: somebody has to mend it
    NO_DATABASE = "no database"
    STOPPED = "stopped"


READY = (Phase.STANDBY, Phase.WORKING, Phase.IDLE)


@dataclass(slots=True)
class AccountState:
    """One account's; changed by its keeper alone."""

    account: Account
    phase: Phase = Phase.STARTING
    reason: str = ""
    throttle: Throttle | None = None  # while the account is held
    coordinator: Coordinator | None = None  # of the newest round
    last_success: dict[str, float] = field(default_factory=dict)  # epoch seconds, by resource
    done: int = 0  # slices, in rounds that ended
    failed: int = 0
    rows: RowCounts = field(default_factory=RowCounts)
    newest: ReconcilePlan | None = None

    @property
    def ready(self) -> bool:
        """Whether the account can work, or another process does."""
        return self.phase in READY

    @property
    def outage(self) -> str | None:
        """Why the API is taken to be unreachable, if it is."""
        coordinator = self.coordinator
        if self.phase is not Phase.WORKING or coordinator is None:
            return None
        reason = coordinator.without_credentials or (coordinator.last_outage if coordinator.breaker.is_open else "")
        return str(Unreachable(reason)) if reason else None

    @property
    def outstanding(self) -> int:
        """Slices that the present round has still to ask for."""
        return self.coordinator.outstanding if self.coordinator is not None and self.phase is Phase.WORKING else 0

    def enter(self, phase: Phase, reason: str = "") -> bool:
        """Go on to a phase. Returns whether that is news."""
        news = (phase, reason) != (self.phase, self.reason)
        self.phase, self.reason = phase, reason
        return news

    def planned(self, todo: ReconcilePlan) -> None:
        """A round was computed."""
        self.newest = todo

    def ended(self, report: RunReport) -> None:
        """A round's work is over."""
        self.done += report.slices.done
        self.failed += report.slices.failed
        self.rows.add(report.rows)
