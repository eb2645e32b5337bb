"""State of one account in the daemon, from which readiness, metrics and systemd's status line are derived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from enum import StrEnum
from zoneinfo import ZoneInfo

from harvester.config import Account
from harvester.console.text import utc_time
from harvester.core.model import RowCounts, RunReport, Series, Stretch
from harvester.daemon.reconcile import ReconcilePlan
from harvester.errors import Unreachable
from harvester.runner.coordinator import Coordinator
from harvester.throttle import Throttle


class Phase(StrEnum):
    """Phase of an account's worker; the value is its name in /readyz."""

    STARTING = "starting"
    STANDBY = "standby"  # another process holds the account
    WORKING = "working"
    IDLE = "idle"  # complete and fresh
    PAUSED = "paused"  # credentials or calendar are wrong, or a bug occurred
    NO_DATABASE = "no database"
    STOPPED = "stopped"


_READY_PHASES = (Phase.STANDBY, Phase.WORKING, Phase.IDLE)


@dataclass(slots=True)
class AccountState:
    """State of one account; changed by its AccountWorker alone."""

    account: Account
    phase: Phase = Phase.STARTING
    reason: str = ""
    throttle: Throttle | None = None  # while this process holds the account
    coordinator: Coordinator | None = None  # of the newest round
    last_success: dict[str, float] = field(default_factory=dict)  # epoch seconds, by resource
    done: int = 0  # slices, in rounds that ended
    failed: int = 0  # slices, in rounds that ended
    rows: RowCounts = field(default_factory=RowCounts)
    newest_plan: ReconcilePlan | None = None

    @property
    def ready(self) -> bool:
        """True if this process can work on the account, or another one does."""
        return self.phase in _READY_PHASES

    @property
    def outage(self) -> str | None:
        """The reason why the API is considered unreachable; None while it is not."""
        coordinator = self.coordinator
        if self.phase is not Phase.WORKING or coordinator is None:
            return None
        outage = coordinator.progress.last_outage if coordinator.breaker.is_open else ""
        reason = coordinator.without_credentials or outage
        return str(Unreachable(reason)) if reason else self.pause

    @property
    def pause(self) -> str | None:
        """The pause that the API asked for by a Retry-After or a limit on bursts, if it is a long one."""
        snapshot = self.throttle.snapshot() if self.throttle is not None else None
        if snapshot is None or not snapshot.long_pause or snapshot.paused_until is None:
            return None
        return f"The API asked for a pause until {utc_time(snapshot.paused_until)}"

    @property
    def outstanding(self) -> int:
        """The number of slices that the present round has not finished."""
        return self.coordinator.outstanding if self.coordinator is not None and self.phase is Phase.WORKING else 0

    def without_database(self, problem: str) -> AccountState:
        """Return this state as it is while there is no database (`problem`: the reason; empty: there is one)."""
        unaffected = (Phase.PAUSED, Phase.NO_DATABASE, Phase.STOPPED)  # for a reason of their own
        if not problem or self.phase in unaffected:
            return self
        return replace(self, phase=Phase.NO_DATABASE, reason=problem)

    def enter(self, phase: Phase, reason: str = "") -> bool:
        """Change the phase. Return True if phase or reason differ from before."""
        changed = (phase, reason) != (self.phase, self.reason)
        self.phase, self.reason = phase, reason
        return changed

    def recall_success(self, coverage: Mapping[Series, Sequence[Stretch]]) -> None:
        """Set the times of the last success before this process: the start of that day, as a lower bound."""
        days: dict[str, date] = {}
        for series, stretches in coverage.items():
            if stretches and series.resource not in self.last_success:
                latest = max(stretch.asked_on for stretch in stretches)
                days[series.resource] = max(latest, days.get(series.resource, latest))
        zone = ZoneInfo(self.account.timezone)
        for resource, day in days.items():
            self.last_success[resource] = datetime.combine(day, time.min, zone).timestamp()

    def add(self, report: RunReport) -> None:
        """Add the counts of a round that ended."""
        self.done += report.slices.done
        self.failed += report.slices.failed
        self.rows.add(report.rows)
