"""The state of all running harvests at one moment, in the few figures that are shown.

An account waits for its quota when the throttle says so and nothing of it is in flight: an answer under way may change
everything, and the first request of a window always goes alone. The whole waits when every account that has work does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harvester.core.eta import Supply, estimate_eta
from harvester.core.model import usable_limit
from harvester.errors import Interrupted

if TYPE_CHECKING:
    from harvester.config import Account
    from harvester.core.model import RunReport
    from harvester.runner.coordinator import Coordinator
    from harvester.throttle import Throttle


class Watched(Protocol):
    """The part of backfill.account_run.AccountRun that is displayed."""

    @property
    def account(self) -> Account:
        """As configured."""
        ...

    @property
    def report(self) -> RunReport:
        """What was done so far."""
        ...

    @property
    def coordinator(self) -> Coordinator | None:
        """None before there is a plan."""
        ...

    @property
    def throttle(self) -> Throttle | None:
        """None before anything is sent."""
        ...

    @property
    def held_by(self) -> str | None:
        """Who holds the account, while waited for."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What there is to show. Times in seconds."""

    planned: int = 0  # slices
    done: int = 0
    failed: int = 0
    requests: int = 0
    values: int = 0  # stored or found unchanged
    quota_left: int | None = None  # requests that all accounts together may still send in their present windows
    quota_limit: int | None = None
    until_reset: float | None = None  # while all that happens is waiting for it
    to_go: float | None = None  # until the last request is sent, as far as can be known
    working: int = 0  # accounts that have something to do
    in_flight: int = 0
    stopping: bool = False
    held: tuple[tuple[str, str], ...] = ()  # account, and who holds it

    @property
    def idle(self) -> bool:
        """Whether nothing happens but waiting."""
        return self.until_reset is not None or (bool(self.held) and not self.working)


def look(runs: Sequence[Watched], now: float, epoch: float) -> View:
    """How far they are.

    Args:
        runs: one per account.
        now: monotonic seconds.
        epoch: the host's epoch seconds.
    """
    reports = [harvest.report for harvest in runs]
    supplies = [_usable(harvest, throttle) for harvest in runs if (throttle := harvest.throttle) is not None]
    working = [harvest for harvest in runs if _works(harvest)]
    waits = [_wait(harvest, now) for harvest in working]
    ends = [coordinator.end for harvest in runs if (coordinator := harvest.coordinator) is not None]
    return View(
        planned=sum(report.slices.planned for report in reports),
        done=sum(report.slices.done for report in reports),
        failed=sum(report.slices.failed for report in reports),
        requests=sum(report.requests for report in reports),
        values=sum(report.rows.new + report.rows.changed + report.rows.unchanged for report in reports),
        quota_left=sum(left for left, _ in supplies) if supplies else None,
        quota_limit=sum(limit for _, limit in supplies) if supplies else None,
        until_reset=None if None in waits else min((wait for wait in waits if wait is not None), default=None),
        to_go=_to_go(runs, working, now, epoch),
        working=len(working),
        in_flight=sum(coordinator.in_flight for harvest in runs if (coordinator := harvest.coordinator) is not None),
        stopping=any(isinstance(end, Interrupted) for end in ends),
        held=tuple((harvest.account.name, harvest.held_by) for harvest in runs if harvest.held_by is not None),
    )


def _works(harvest: Watched) -> bool:
    coordinator = harvest.coordinator
    return (
        coordinator is not None and harvest.held_by is None and coordinator.end is None and coordinator.outstanding > 0
    )


def _usable(harvest: Watched, throttle: Throttle) -> tuple[int, int]:
    """Requests that may still be sent in this window, and in a whole one."""
    snapshot = throttle.snapshot()
    limit = usable_limit(snapshot.limit, harvest.account.quota.reserve)
    return min(snapshot.remaining, limit), limit


def _wait(harvest: Watched, now: float) -> float | None:
    coordinator, throttle = harvest.coordinator, harvest.throttle
    if coordinator is None or throttle is None or coordinator.in_flight or throttle.waiting_until is None:
        return None
    wait = throttle.waiting_until - now
    return wait if wait > 0 else None


def _to_go(runs: Sequence[Watched], working: Sequence[Watched], now: float, epoch: float) -> float | None:
    """Accounts run side by side, so the slowest one counts; nobody knows while one is held or its API is silent."""
    if not working or any(_unknown(harvest) for harvest in runs):
        return None
    return max(_account_to_go(harvest, now, epoch) for harvest in working)


def _unknown(harvest: Watched) -> bool:
    coordinator = harvest.coordinator
    return harvest.held_by is not None or (
        coordinator is not None and coordinator.end is None and coordinator.breaker.is_open
    )


def _account_to_go(harvest: Watched, now: float, epoch: float) -> float:
    coordinator, throttle, quota = harvest.coordinator, harvest.throttle, harvest.account.quota
    requests = max(0, coordinator.outstanding - coordinator.in_flight) if coordinator is not None else 0
    limit = usable_limit(quota.limit, quota.reserve)
    left, until_reset = limit, float(quota.window)
    if throttle is not None:
        left, limit = _usable(harvest, throttle)
        # The server's clock may be hours apart from ours: then only the wait itself tells when its window ends.
        until_reset = min(max(0.0, throttle.snapshot().resets_at - epoch), quota.window)
    wait = _wait(harvest, now)
    if wait is not None:
        left, until_reset = 0, wait
    supply = Supply(
        per_window=limit, window=quota.window, rate=harvest.account.api.max_rate, left=left, until_reset=until_reset
    )
    return estimate_eta(requests, supply).seconds
