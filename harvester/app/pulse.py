"""How the daemon fares, in the words of whoever asks: Prometheus, systemd, a dead-man's switch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harvester.app.fate import Phase
from harvester.app.metrics import AccountGauges
from harvester.core.freshness import freshness_lag
from harvester.errors import HarvesterError
from harvester.source.transport import AiohttpTransport, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harvester.app.fate import Fate
    from harvester.runner.ports import Observer

PING_TIMEOUT = 10.0  # seconds
_FINE = 400


def gauges_of(fate: Fate, now: float) -> AccountGauges:
    """One account for Prometheus (`now`: epoch seconds)."""
    account, judge = fate.account, fate.judge
    lag = {}
    if fate.newest is not None and account.start is not None:
        for (resource, period), through in fate.newest.complete_through.items():
            lag[resource, period.value] = freshness_lag(through, account.start, period, account.calendar, now)
    done, failed, outstanding, in_flight = fate.done, fate.failed, 0, 0
    if judge is not None and fate.phase is Phase.WORKING:
        slices = judge.report.slices
        done, failed = done + slices.done, failed + slices.failed
        in_flight = judge.in_flight
        outstanding = judge.outstanding - in_flight
    return AccountGauges(
        name=account.name,
        up=fate.phase not in (Phase.PAUSED, Phase.NO_DATABASE) and fate.outage is None,
        active=fate.throttle is not None,
        quota=None if fate.throttle is None else fate.throttle.snapshot(),
        slices={"pending": outstanding, "in_flight": in_flight, "done": done, "failed": failed},
        last_success=dict(fate.last_success),
        lag=lag,
    )


def status_line(fates: Sequence[Fate]) -> str:
    """One line for `systemctl status`."""
    phases = Counter("unreachable" if fate.outage else fate.phase.value for fate in fates)
    parts = [", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "no account"]
    left = sum(fate.outstanding for fate in fates)
    if left:
        parts.append(f"{left} slices to go")
    quotas = [fate.throttle.snapshot() for fate in fates if fate.throttle is not None]
    if quotas:
        parts.append(f"quota {sum(one.remaining for one in quotas)} of {sum(one.limit for one in quotas)}")
    return "; ".join(parts)


async def ping(url: str, tell: Observer) -> None:
    """Tell the dead-man's switch that a refresh went well. A failure is worth a line, and nothing more."""
    try:
        async with AiohttpTransport(timeout=PING_TIMEOUT) as transport, transport.send(Request("GET", url)) as answer:
            if answer.status >= _FINE:
                tell("ping_failed", error=f"status {answer.status}")
    except HarvesterError as error:
        tell("ping_failed", error=str(error))
