"""State of the daemon in the formats of Prometheus, systemd and a dead-man's switch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harvester.console.text import counted
from harvester.core.freshness import freshness_lag
from harvester.daemon.account_state import AccountState, Phase
from harvester.daemon.metrics import AccountGauges
from harvester.errors import HarvesterError
from harvester.events import Event
from harvester.runner.ports import Observer
from harvester.source.transport import AiohttpTransport, Request
from harvester.web.endpoints import Readiness

PING_TIMEOUT_SECONDS = 10.0
_FIRST_ERROR_STATUS = 400


def readiness_of(states: Sequence[AccountState]) -> Readiness:
    """Return the answer of /readyz: ready if some account can be worked on."""
    return Readiness(
        ready=any(state.ready for state in states),
        body={
            "accounts": [
                {
                    "name": state.account.name,
                    "state": state.phase.value,
                    "reason": state.outage or state.reason or None,
                }
                for state in states
            ],
            "paused": {state.account.name: state.reason for state in states if state.phase is Phase.PAUSED},
        },
    )


def gauges_of(state: AccountState, now: float) -> AccountGauges:
    """Return the gauges of one account (`now`: epoch seconds)."""
    account, coordinator = state.account, state.coordinator
    lag = {}
    if state.newest_plan is not None and account.start is not None:
        for (resource, period), through in state.newest_plan.complete_through.items():
            lag[resource, period.value] = freshness_lag(through, account.start, period, account.calendar, now)
    done, failed, outstanding, in_flight = state.done, state.failed, 0, 0
    if coordinator is not None and state.phase is Phase.WORKING:
        slices = coordinator.report.slices
        done, failed = done + slices.done, failed + slices.failed
        in_flight = coordinator.in_flight
        outstanding = coordinator.outstanding - in_flight
    return AccountGauges(
        name=account.name,
        up=state.phase not in (Phase.PAUSED, Phase.NO_DATABASE) and state.outage is None,
        active=state.throttle is not None,
        quota=None if state.throttle is None else state.throttle.snapshot(),
        clock_skew=None if state.throttle is None else -state.throttle.server_ahead(),
        slices={"pending": outstanding, "in_flight": in_flight, "done": done, "failed": failed},
        last_success=dict(state.last_success),
        lag=lag,
    )


def status_line(states: Sequence[AccountState]) -> str:
    """Return the state of all accounts in one line, for `systemctl status`."""
    phases = Counter("unreachable" if state.outage else state.phase.value for state in states)
    parts = [", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "no accounts"]
    left = sum(state.outstanding for state in states)
    if left:
        parts.append(f"{counted(left, 'slice')} to go")
    quotas = [state.throttle.snapshot() for state in states if state.throttle is not None]
    if quotas:
        remaining, limit = sum(one.remaining for one in quotas), sum(one.limit for one in quotas)
        parts.append(f"quota {remaining:,} of {limit:,} left")
    return "; ".join(parts)


async def ping(url: str, emit: Observer) -> None:
    """Fetch the URL of a dead-man's switch after a good refresh. A failure is only logged."""
    try:
        async with (
            AiohttpTransport(timeout=PING_TIMEOUT_SECONDS) as transport,
            transport.send(Request("GET", url)) as answer,
        ):
            if answer.status >= _FIRST_ERROR_STATUS:
                emit(Event.PING_FAILED, error=f"status {answer.status}")
    except HarvesterError as error:
        emit(Event.PING_FAILED, error=str(error))
