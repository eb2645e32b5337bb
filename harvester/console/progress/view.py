"""State of all running accounts at one moment, reduced to the figures of the progress display.

An account waits for its quota when its throttle says so and none of its requests is in flight: the answer to one may
change the quota, and the first request of a window always goes alone. The run waits when every account with work does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harvester.config import Account
from harvester.core.eta import Supply, estimate_eta
from harvester.core.model import RunReport, usable_limit
from harvester.errors import Interrupted
from harvester.runner.coordinator import Coordinator
from harvester.throttle import Throttle


class Watched(Protocol):
    """The displayed part of backfill.account_run.AccountRun, which this layer may not import."""

    @property
    def account(self) -> Account:
        """The configured account."""
        ...

    @property
    def report(self) -> RunReport:
        """The work done so far."""
        ...

    @property
    def coordinator(self) -> Coordinator | None:
        """The state of the account's work; None before there is a plan."""
        ...

    @property
    def throttle(self) -> Throttle | None:
        """The account's quota; None before there is a plan."""
        ...

    @property
    def held_by(self) -> str | None:
        """The process that holds the account, while it is waited for."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Figures of the progress display, over all accounts. Times in seconds."""

    planned: int = 0  # slices
    done: int = 0
    failed: int = 0
    requests: int = 0
    values: int = 0  # stored or found unchanged
    quota_left: int | None = None  # requests that all accounts together may still send in their present windows
    quota_limit: int | None = None
    until_reset: float | None = None  # None unless the whole run waits for it
    paused: bool = False  # that wait is a pause that the API asked for, not a spent quota
    eta: float | None = None  # until the last request is sent; None where it cannot be estimated
    working: int = 0  # accounts with work left
    in_flight: int = 0
    stopping: bool = False
    held: tuple[tuple[str, str], ...] = ()  # account and holder

    @property
    def idle(self) -> bool:
        """True while the run only waits."""
        return self.until_reset is not None or (bool(self.held) and not self.working)


def view_of(runs: Sequence[Watched], now: float, epoch: float) -> View:
    """Return the state of all accounts at one moment.

    Args:
        runs: one per account.
        now: monotonic seconds.
        epoch: the host's epoch seconds.
    """
    reports = [run.report for run in runs]
    supplies = [_usable(run, throttle) for run in runs if (throttle := run.throttle) is not None]
    working = [run for run in runs if _has_work(run)]
    waits = [_wait(run, now) for run in working]
    ends = [coordinator.end for run in runs if (coordinator := run.coordinator) is not None]
    return View(
        planned=sum(report.slices.planned for report in reports),
        done=sum(report.slices.done for report in reports),
        failed=sum(report.slices.failed for report in reports),
        requests=sum(report.requests for report in reports),
        values=sum(report.rows.new + report.rows.changed + report.rows.unchanged for report in reports),
        quota_left=sum(left for left, _ in supplies) if supplies else None,
        quota_limit=sum(limit for _, limit in supplies) if supplies else None,
        until_reset=None if None in waits else min((wait for wait in waits if wait is not None), default=None),
        paused=any(run.throttle is not None and run.throttle.snapshot().paused_until for run in working),
        eta=_eta(runs, working, now, epoch),
        working=len(working),
        in_flight=sum(coordinator.in_flight for run in runs if (coordinator := run.coordinator) is not None),
        stopping=any(isinstance(end, Interrupted) for end in ends),
        held=tuple((run.account.name, run.held_by) for run in runs if run.held_by is not None),
    )


def _has_work(run: Watched) -> bool:
    coordinator = run.coordinator
    return coordinator is not None and run.held_by is None and coordinator.end is None and coordinator.outstanding > 0


def _usable(run: Watched, throttle: Throttle) -> tuple[int, int]:
    """Return the requests that may still be sent in this window, and those of a whole one."""
    snapshot = throttle.snapshot()
    limit = usable_limit(snapshot.limit, run.account.quota.reserve)
    return min(snapshot.remaining, limit), limit


def _wait(run: Watched, now: float) -> float | None:
    coordinator, throttle = run.coordinator, run.throttle
    if coordinator is None or throttle is None or coordinator.in_flight or throttle.waiting_until is None:
        return None
    wait = throttle.waiting_until - now
    return wait if wait > 0 else None


def _eta(runs: Sequence[Watched], working: Sequence[Watched], now: float, epoch: float) -> float | None:
    """Return the time left of the slowest account, as they run side by side; None while one is held or unreachable."""
    if not working or any(_has_no_eta(run) for run in runs):
        return None
    return max(_account_eta(run, now, epoch) for run in working)


def _has_no_eta(run: Watched) -> bool:
    coordinator = run.coordinator
    return run.held_by is not None or (
        coordinator is not None and coordinator.end is None and coordinator.breaker.is_open
    )


def _account_eta(run: Watched, now: float, epoch: float) -> float:
    coordinator, throttle, quota = run.coordinator, run.throttle, run.account.quota
    requests = max(0, coordinator.outstanding - coordinator.in_flight) if coordinator is not None else 0
    limit = usable_limit(quota.limit, quota.reserve)
    left, until_reset = limit, float(quota.window)
    if throttle is not None:
        left, limit = _usable(run, throttle)
        # The server's clock may differ from the host's by hours; then only the throttle's wait shows the window's end.
        until_reset = min(max(0.0, throttle.snapshot().resets_at - epoch), quota.window)
    wait = _wait(run, now)
    if wait is not None:
        left, until_reset = 0, wait
    supply = Supply(
        per_window=limit, window=quota.window, rate=run.account.api.max_rate, left=left, until_reset=until_reset
    )
    return estimate_eta(requests, supply).seconds
