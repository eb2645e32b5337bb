"""The daemon's metrics, for Prometheus.

What happens is counted as it happens: `Metrics` is told. How things stand is asked for when somebody looks, once per
look, so that all gauges show one moment, and an account that is gone from the answer is gone from the gauges.

Counters of an account begin at 0 as soon as it is known: a counter that appears with its first event hides that event
from `increase()`. Every instance has a registry of its own.
"""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from harvester import __version__
from harvester.core.model import RowCounts, Slice
from harvester.events import Event

if TYPE_CHECKING:
    from harvester.clock import Clock
    from harvester.core.quota import Snapshot

CHANGES = tuple(asdict(RowCounts()))
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, which nothing of ours reads


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountGauges:
    """How one account stands, at one moment."""

    name: str
    up: bool  # it can work, here or elsewhere
    active: bool = True  # worked by this process; else by another, and we stand by
    quota: Snapshot | None = None
    slices: Mapping[str, int] = field(default_factory=dict)  # by state
    last_success: Mapping[str, float] = field(default_factory=dict)  # epoch seconds, by resource
    lag: Mapping[tuple[str, str], float] = field(default_factory=dict)  # seconds at worst, by resource and period


class Metrics:
    """Counts, and shows.

    Args:
        accounts: how each configured account stands.
        clock: what time it is.
    """

    def __init__(self, accounts: Callable[[], Iterable[AccountGauges]], *, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock
        self._registry = registry = CollectorRegistry()
        self._shown: tuple[AccountGauges, ...] = ()
        self._last_success: dict[tuple[str, str], float] = {}
        self._waits: defaultdict[str, _Wait] = defaultdict(_Wait)
        self._requests = Counter(
            "harvester_requests",
            "Requests to the API, by HTTP status or by what failed instead.",
            ("account", "resource", "status"),
            registry=registry,
        )
        self._durations = Histogram(
            "harvester_request_duration_seconds",
            "How long a request took, its body included.",
            ("account", "resource"),
            buckets=BUCKETS,
            registry=registry,
        )
        self._rate_limited = Counter(
            "harvester_rate_limited", "Requests answered with 429.", ("account",), registry=registry
        )
        self._rows = Counter(
            "harvester_rows",
            "Values stored (new, changed, unchanged) or not taken (rejected); periods that answers lacked (absent).",
            ("account", "change"),
            registry=registry,
        )
        self._rejects = Counter(
            "harvester_rejects", "Values that could not be taken.", ("account", "resource"), registry=registry
        )
        self._reload_ok = Gauge(
            "harvester_config_last_reload_successful",
            "Whether the configuration read last is in use.",
            registry=registry,
        )
        self._reload_at = Gauge(
            "harvester_config_last_reload_success_timestamp_seconds",
            "When the configuration in use was read.",
            registry=registry,
        )
        build = Info("harvester_build", "What is running.", registry=registry)
        build.info({"version": __version__, "python": platform.python_version()})
        registry.register(_Standing(self))
        registry.register(_Process(clock.time()))
        self.reloaded(successful=True)  # a daemon that runs has read its configuration

    # What happens

    def request(self, account: str, resource: str, status: str, seconds: float) -> None:
        """A request ended; see MeasuredTransport for `resource` and `status`."""
        self._requests.labels(account, resource, status).inc()
        self._durations.labels(account, resource).observe(max(0.0, seconds))
        if status == str(HTTPStatus.TOO_MANY_REQUESTS.value):
            self._rate_limited.labels(account).inc()

    def committed(self, account: str, rows: RowCounts, resources: Iterable[str] = ()) -> None:
        """A transaction was committed; `resources` are those of which it held answers."""
        for change, count in asdict(rows).items():
            self._rows.labels(account, change).inc(count)
        for resource in resources:
            self._last_success[account, resource] = self._clock.time()

    def rejected(self, account: str, resource: str, values: int) -> None:
        """An answer held values that could not be taken."""
        self._rejects.labels(account, resource).inc(values)

    def waiting(self, account: str, until: float | None) -> None:
        """The account waits for its quota until a monotonic moment; None: not any more. As Throttle tells it."""
        self._waits[account].update(self._clock.monotonic(), until)

    def reloaded(self, *, successful: bool) -> None:
        """The configuration was read anew, or could not be."""
        self._reload_ok.set(successful)
        if successful:
            self._reload_at.set(self._clock.time())

    def emit(self, event: Event, /, **facts: object) -> None:
        """Count what the runner tells (runner.ports.Observer): `committed` and `answered`, with their `account`."""
        match event, facts:
            case Event.COMMITTED, {"account": str(account), "rows": RowCounts() as rows}:
                resources = facts.get("resources", ())
                self.committed(account, rows, resources if isinstance(resources, tuple | frozenset) else ())
            case Event.ANSWERED, {"account": str(account), "slice": Slice() as piece, "rejects": int(rejects)}:
                self.rejected(account, piece.series.resource, rejects)
            case _:
                pass

    # How things stand

    def text(self) -> bytes:
        """All of it, in Prometheus' text format (0.0.4)."""
        self._shown = tuple(self._accounts())
        for account in self._shown:
            self._begin(account)
        return generate_latest(self._registry)

    def _begin(self, account: AccountGauges) -> None:
        self._rate_limited.labels(account.name)
        self._waits[account.name]  # looked up to be created
        for change in CHANGES:
            self._rows.labels(account.name, change)
        for resource, _ in account.lag:
            self._rejects.labels(account.name, resource)

    def standing(self) -> Iterator[Metric]:
        """The gauges of the accounts shown, and what needs the present moment."""
        yield from _gauges(self._shown)
        wait = CounterMetricFamily(
            "harvester_quota_wait_seconds", "Time for which work waited for the quota.", labels=["account"]
        )
        now = self._clock.monotonic()
        for name, waited in self._waits.items():
            wait.add_metric([name], waited.seconds(now))
        yield wait
        yield self._successes()

    def _successes(self) -> Metric:
        last = GaugeMetricFamily(
            "harvester_last_success_timestamp_seconds",
            "When an answer was last stored.",
            labels=["account", "resource"],
        )
        for account in self._shown:
            ours = {resource: at for (name, resource), at in self._last_success.items() if name == account.name}
            for resource in sorted({*account.last_success, *ours}):
                at = max(account.last_success.get(resource, 0.0), ours.get(resource, 0.0))
                last.add_metric([account.name, resource], at)
        return last


def _gauges(accounts: Iterable[AccountGauges]) -> Iterator[Metric]:
    one = ["account"]
    up = GaugeMetricFamily("harvester_account_up", "0 while the account cannot work.", labels=one)
    active = GaugeMetricFamily("harvester_account_active", "1 where this process works the account.", labels=one)
    limit = GaugeMetricFamily("harvester_quota_limit", "Requests per window.", labels=one)
    remaining = GaugeMetricFamily("harvester_quota_remaining", "Requests that may still be sent in it.", labels=one)
    reset = GaugeMetricFamily(
        "harvester_quota_reset_timestamp_seconds", "When it ends, by the API's clock.", labels=one
    )
    slices = GaugeMetricFamily("harvester_slices", "Slices of work, by state.", labels=["account", "state"])
    lag = GaugeMetricFamily(
        "harvester_freshness_lag_seconds",
        "For how long the next period to become complete has been over, at worst over the phones.",
        labels=["account", "resource", "period"],
    )
    for account in accounts:
        up.add_metric([account.name], account.up)
        active.add_metric([account.name], account.active)
        if account.quota is not None:
            limit.add_metric([account.name], account.quota.limit)
            remaining.add_metric([account.name], account.quota.remaining)
            reset.add_metric([account.name], account.quota.resets_at)
        for state, count in account.slices.items():
            slices.add_metric([account.name, state], count)
        for (resource, period), seconds in account.lag.items():
            lag.add_metric([account.name, resource, period], seconds)
    return iter((up, active, limit, remaining, reset, slices, lag))


class _Standing(Collector):
    """What is asked for at each look, as the registry wants it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.standing()


class _Process(Collector):
    """The customary metrics of a process. The library's own collector needs /proc/stat, which our unit hides."""

    def __init__(self, started: float) -> None:
        self._started = started

    def collect(self) -> Iterable[Metric]:
        started = "process_start_time_seconds"
        yield GaugeMetricFamily(started, "When the process started, in epoch seconds.", value=self._started)
        yield CounterMetricFamily("process_cpu_seconds", "CPU time spent.", value=time.process_time())
        try:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return  # no Linux
        size = pages * os.sysconf("SC_PAGE_SIZE")
        yield GaugeMetricFamily("process_resident_memory_bytes", "Memory in use.", value=size)


class _Wait:
    """Seconds spent waiting. Not counted beyond the moment waited for: the end of a wait may never be told."""

    def __init__(self) -> None:
        self._past = 0.0
        self._began = 0.0
        self._until = 0.0

    def update(self, now: float, until: float | None) -> None:
        self._past = self.seconds(now)
        self._began = now
        self._until = now if until is None else until

    def seconds(self, now: float) -> float:
        return self._past + max(0.0, min(now, self._until) - self._began)
