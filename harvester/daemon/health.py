"""How the daemon fares, in the words of whoever asks: Prometheus, systemd, a dead-man's switch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harvester.core.freshness import freshness_lag
from harvester.daemon.account_state import AccountState, Phase
from harvester.daemon.metrics import AccountGauges
from harvester.errors import HarvesterError
from harvester.events import Event
from harvester.source.transport import AiohttpTransport, Request

if TYPE_CHECKING:
    from harvester.runner.ports import Observer

PING_TIMEOUT = 10.0  # seconds
_FINE = 400


def gauges_of(state: AccountState, now: float) -> AccountGauges:
    """One account for Prometheus (`now`: epoch seconds)."""
    account, coordinator = state.account, state.coordinator
    lag = {}
    if state.newest is not None and account.start is not None:
        for (resource, period), through in state.newest.complete_through.items():
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
        slices={"pending": outstanding, "in_flight": in_flight, "done": done, "failed": failed},
        last_success=dict(state.last_success),
        lag=lag,
    )


def status_line(states: Sequence[AccountState]) -> str:
    """One line for `systemctl status`."""
    phases = Counter("unreachable" if state.outage else state.phase.value for state in states)
    parts = [", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "no account"]
    left = sum(state.outstanding for state in states)
    if left:
        parts.append(f"{left} slices to go")
    quotas = [state.throttle.snapshot() for state in states if state.throttle is not None]
    if quotas:
        parts.append(f"quota {sum(one.remaining for one in quotas)} of {sum(one.limit for one in quotas)}")
    return "; ".join(parts)


async def ping(url: str, emit: Observer) -> None:
    """Tell the dead-man's switch that a refresh went well. A failure is worth a line, and nothing more."""
    try:
        async with AiohttpTransport(timeout=PING_TIMEOUT) as transport, transport.send(Request("GET", url)) as answer:
            if answer.status >= _FINE:
                emit(Event.PING_FAILED, error=f"status {answer.status}")
    except HarvesterError as error:
        emit(Event.PING_FAILED, error=str(error))
