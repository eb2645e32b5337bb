"""Metrics of the daemon in the format of Prometheus.

Counters are increased as things happen. Gauges are read at each scrape, all at once, so that they describe one moment
and an account that was removed disappears from them.

The counters of an account begin at 0 as soon as the account is known: a counter that appears with its first event hides
that event from `increase()`. Every instance has its own registry.
"""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path

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
from harvester.clock import Clock
from harvester.core.model import RowCounts, Slice
from harvester.core.quota import Snapshot
from harvester.events import Event

CHANGES = tuple(asdict(RowCounts()))
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds

disable_created_metrics()  # type: ignore[no-untyped-call] # they would double the series, and nothing reads them


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountGauges:
    """State of one account at one moment."""

    name: str
    up: bool  # this process or another one can work on it
    active: bool = True  # this process holds it; another one otherwise
    quota: Snapshot | None = None
    clock_skew: float | None = None  # seconds by which the host's clock is ahead of the API's
    slices: Mapping[str, int] = field(default_factory=dict)  # by state
    last_success: Mapping[str, float] = field(default_factory=dict)  # epoch seconds, by resource
    lag: Mapping[tuple[str, str], float] = field(default_factory=dict)  # seconds at most, by resource and period


class Metrics:
    """Registry of all metrics.

    Args:
        accounts: returns the state of each configured account.
        clock: wall clock and monotonic clock.
    """

    def __init__(self, accounts: Callable[[], Iterable[AccountGauges]], *, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock
        self._registry = registry = CollectorRegistry()
        self._scraped: tuple[AccountGauges, ...] = ()
        self._last_success: dict[tuple[str, str], float] = {}
        self._waits: defaultdict[str, _WaitTime] = defaultdict(_WaitTime)
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self._requests = counter(
            "harvester_requests",
            "Requests to the API, by HTTP status or kind of failure.",
            ("account", "resource", "status"),
        )
        self._durations = Histogram(
            "harvester_request_duration_seconds",
            "Duration of requests to the API, including the body of the response.",
            ("account", "resource"),
            buckets=BUCKETS,
            registry=registry,
        )
        self._rate_limited = counter(
            "harvester_rate_limited", "Requests that the API answered with 429 (over the quota).", ("account",)
        )
        self._rows = counter(
            "harvester_rows",
            "Values in answers: new, changed, unchanged or rejected; and periods missing from answers: absent.",
            ("account", "change"),
        )
        self._rejects = counter(
            "harvester_rejects",
            "Values that were not stored because they are invalid; the table reject lists them.",
            ("account", "resource"),
        )
        self._reload_ok = gauge(
            "harvester_config_last_reload_successful",
            "1 if the last reload of the configuration succeeded, 0 if it was refused.",
        )
        self._reload_at = gauge(
            "harvester_config_last_reload_success_timestamp_seconds",
            "Time at which the configuration in use was read.",
        )
        build = Info("harvester_build", "Version of the harvester and of Python.", registry=registry)
        build.info({"version": __version__, "python": platform.python_version()})
        registry.register(_AccountCollector(self))
        registry.register(_ProcessCollector(clock.time()))
        self.reloaded(successful=True)  # a running daemon has read its configuration

    # Counters

    def request(self, account: str, resource: str, status: str, seconds: float) -> None:
        """Count a request that ended; `resource` and `status` as in InstrumentedTransport."""
        self._requests.labels(account, resource, status).inc()
        self._durations.labels(account, resource).observe(max(0.0, seconds))
        if status == str(HTTPStatus.TOO_MANY_REQUESTS.value):
            self._rate_limited.labels(account).inc()

    def committed(self, account: str, rows: RowCounts, resources: Iterable[str] = ()) -> None:
        """Count the rows of a transaction; `resources` are those of its answers."""
        for change, count in asdict(rows).items():
            self._rows.labels(account, change).inc(max(0, count))  # absence that a repeated request revoked
        for resource in resources:
            self._last_success[account, resource] = self._clock.time()

    def rejected(self, account: str, resource: str, values: int) -> None:
        """Count the rejected values of an answer."""
        self._rejects.labels(account, resource).inc(values)

    def waiting(self, account: str, until: float | None) -> None:
        """Note the monotonic moment until which an account waits for its quota; None ends the wait."""
        self._waits[account].update(self._clock.monotonic(), until)

    def reloaded(self, *, successful: bool) -> None:
        """Note a reload of the configuration."""
        self._reload_ok.set(successful)
        if successful:
            self._reload_at.set(self._clock.time())

    def emit(self, event: Event, /, **facts: object) -> None:
        """Count the events `committed` and `answered` (runner.ports.Observer)."""
        match event, facts:
            case Event.COMMITTED, {"account": str(account), "rows": RowCounts() as rows}:
                resources = facts.get("resources", ())
                self.committed(account, rows, resources if isinstance(resources, tuple | frozenset) else ())
            case Event.ANSWERED, {"account": str(account), "slice": Slice() as piece, "rejects": int(rejects)}:
                self.rejected(account, piece.series.resource, rejects)
            case _:
                pass

    # Scrapes

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format (0.0.4)."""
        self._scraped = tuple(self._accounts())
        for account in self._scraped:
            self._create_counters(account)
        return generate_latest(self._registry)

    def _create_counters(self, account: AccountGauges) -> None:
        self._rate_limited.labels(account.name)
        self._waits[account.name]  # the look-up creates it
        for change in CHANGES:
            self._rows.labels(account.name, change)
        for resource, _ in account.lag:
            self._rejects.labels(account.name, resource)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that are computed at each scrape."""
        yield from _gauges(self._scraped)
        yield _skews(self._scraped)
        wait = CounterMetricFamily(
            "harvester_quota_wait_seconds", "Time spent waiting for the quota.", labels=["account"]
        )
        now = self._clock.monotonic()
        for name, waited in self._waits.items():
            wait.add_metric([name], waited.seconds(now))
        yield wait
        yield self._successes()

    def _successes(self) -> Metric:
        last = GaugeMetricFamily(
            "harvester_last_success_timestamp_seconds",
            "Time at which an answer was last stored.",
            labels=["account", "resource"],
        )
        for account in self._scraped:
            ours = {resource: at for (name, resource), at in self._last_success.items() if name == account.name}
            for resource in sorted({*account.last_success, *ours}):
                at = max(account.last_success.get(resource, 0.0), ours.get(resource, 0.0))
                last.add_metric([account.name, resource], at)
        return last


def _gauges(accounts: Iterable[AccountGauges]) -> Iterator[Metric]:
    one = ["account"]
    up = GaugeMetricFamily(
        "harvester_account_up",
        "1 if this process or another one can work on the account, 0 if it cannot be worked on.",
        labels=one,
    )
    active = GaugeMetricFamily(
        "harvester_account_active", "1 if this process holds the account, 0 on a standby.", labels=one
    )
    limit = GaugeMetricFamily("harvester_quota_limit", "Requests allowed per quota window.", labels=one)
    remaining = GaugeMetricFamily(
        "harvester_quota_remaining", "Requests that may still be sent in the present quota window.", labels=one
    )
    reset = GaugeMetricFamily(
        "harvester_quota_reset_timestamp_seconds", "End of the present quota window, by the API's clock.", labels=one
    )
    paused = GaugeMetricFamily(
        "harvester_quota_paused_until_timestamp_seconds",
        "End of the pause that the API asked for, by its clock; 0 while there is none.",
        labels=one,
    )
    slices = GaugeMetricFamily(
        "harvester_slices",
        "Slices: pending and in_flight now, done and failed since the start.",
        labels=["account", "state"],
    )
    lag = GaugeMetricFamily(
        "harvester_freshness_lag_seconds",
        "Seconds since the end of the period after the newest complete one, of the phone that lags most; 0 if fresh.",
        labels=["account", "resource", "period"],
    )
    for account in accounts:
        up.add_metric([account.name], account.up)
        active.add_metric([account.name], account.active)
        if account.quota is not None:
            limit.add_metric([account.name], account.quota.limit)
            remaining.add_metric([account.name], account.quota.remaining)
            reset.add_metric([account.name], account.quota.resets_at)
            paused.add_metric([account.name], account.quota.paused_until or 0)
        for state, count in account.slices.items():
            slices.add_metric([account.name, state], count)
        for (resource, period), seconds in account.lag.items():
            lag.add_metric([account.name, resource, period], seconds)
    return iter((up, active, limit, remaining, reset, paused, slices, lag))


def _skews(accounts: Iterable[AccountGauges]) -> Metric:
    skew = GaugeMetricFamily(
        "harvester_clock_skew_seconds",
        "Seconds by which this host's clock is ahead of the API's; 0 before the first answer.",
        labels=["account"],
    )
    for account in accounts:
        if account.clock_skew is not None:
            skew.add_metric([account.name], account.clock_skew)
    return skew


class _AccountCollector(Collector):
    """Adapter of Metrics.collect for the registry."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.collect()


class _ProcessCollector(Collector):
    """Usual metrics of a process. The library's own collector needs /proc/stat, which the systemd unit hides."""

    def __init__(self, started: float) -> None:
        self._started = started

    def collect(self) -> Iterable[Metric]:
        started = "process_start_time_seconds"
        yield GaugeMetricFamily(started, "Start time of the process in epoch seconds.", value=self._started)
        yield CounterMetricFamily("process_cpu_seconds", "CPU time used by the process.", value=time.process_time())
        try:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return  # not on Linux
        size = pages * os.sysconf("SC_PAGE_SIZE")
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory of the process.", value=size)


class _WaitTime:
    """Seconds spent waiting. A wait counts up to its moment at most, since its end may not be reported."""

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
