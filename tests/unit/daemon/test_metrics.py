"""Metrics as Prometheus parses them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harvester import __version__
from harvester.core.model import RowCounts, Series, Slice
from harvester.core.period import Period
from harvester.core.quota import Snapshot
from harvester.daemon.metrics import AccountGauges, Metrics
from harvester.events import Event

DOCS = Path(__file__).parents[3] / "docs"
GRID_WIDTH = 24  # Grafana's

MAIN = AccountGauges(
    name="main",
    up=True,
    quota=Snapshot(150, 42, 1_700_000_900),
    clock_skew=172_800.0,
    slices={"pending": 7, "failed": 1},
    last_success={"performance": 1_700_000_000.0},
    lag={("performance", "day"): 120.0, ("volume", "week"): 0.0},
)
PIECE = Slice(Series("main", "performance", "8005551234", Period.DAY), date(2024, 1, 1), date(2024, 1, 2))


class ManualClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - 1_699_999_000

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Daemon:
    """Metrics with their accounts and their clock."""

    def __init__(self, *accounts: AccountGauges) -> None:
        self.accounts: Iterable[AccountGauges] = accounts
        self.clock = ManualClock()
        self.metrics = Metrics(lambda: self.accounts, clock=self.clock)

    def read(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Values by name and label values, these in the order of the labels."""
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(self.metrics.text().decode())
            for sample in family.samples
        }


def test_the_gauges_of_an_account() -> None:
    found = Daemon(MAIN).read()
    expected = {
        ("harvester_account_up", ("main",)): 1,
        ("harvester_account_active", ("main",)): 1,
        ("harvester_quota_limit", ("main",)): 150,
        ("harvester_quota_remaining", ("main",)): 42,
        ("harvester_quota_reset_timestamp_seconds", ("main",)): 1_700_000_900,
        ("harvester_clock_skew_seconds", ("main",)): 172_800,
        ("harvester_slices", ("main", "pending")): 7,
        ("harvester_slices", ("main", "failed")): 1,
        ("harvester_last_success_timestamp_seconds", ("main", "performance")): 1_700_000_000,
        ("harvester_freshness_lag_seconds", ("main", "day", "performance")): 120,
        ("harvester_freshness_lag_seconds", ("main", "week", "volume")): 0,
    }
    assert {key: found.get(key) for key in expected} == expected


def test_a_paused_account_is_down_and_an_unknown_quota_is_not_zero() -> None:
    found = Daemon(replace(MAIN, up=False, active=False, quota=None)).read()
    assert found["harvester_account_up", ("main",)] == 0
    assert found["harvester_account_active", ("main",)] == 0
    assert not any(name.startswith("harvester_quota_limit") for name, _ in found)
    assert not any(name.startswith("harvester_quota_remaining") for name, _ in found)


def test_counters_begin_at_zero_with_the_account() -> None:
    found = Daemon(MAIN).read()
    for change in ("new", "changed", "unchanged", "rejected", "absent"):
        assert found["harvester_rows_total", ("main", change)] == 0
    assert found["harvester_rate_limited_total", ("main",)] == 0
    assert found["harvester_quota_wait_seconds_total", ("main",)] == 0
    assert found["harvester_rejects_total", ("main", "volume")] == 0


def test_a_removed_account_leaves_the_gauges_and_keeps_its_counters() -> None:
    daemon = Daemon(MAIN, replace(MAIN, name="other"))
    daemon.metrics.committed("other", RowCounts(new=3), ["performance"])
    assert ("harvester_account_up", ("other",)) in daemon.read()
    daemon.accounts = (MAIN,)
    left = {name for name, labels in daemon.read() if "other" in labels}
    assert left <= {
        "harvester_rows_total",
        "harvester_rejects_total",
        "harvester_rate_limited_total",
        "harvester_quota_wait_seconds_total",
    }
    assert daemon.read()["harvester_rows_total", ("other", "new")] == 3


def test_requests_are_counted_by_outcome_and_timed() -> None:
    daemon = Daemon(MAIN)
    for status, seconds in (("200", 0.2), ("200", 3.0), ("429", 0.01), ("timeout", 60.5)):
        daemon.metrics.request("main", "performance", status, seconds)
    found = daemon.read()
    assert found["harvester_requests_total", ("main", "performance", "200")] == 2
    assert found["harvester_requests_total", ("main", "performance", "timeout")] == 1
    assert found["harvester_rate_limited_total", ("main",)] == 1
    assert found["harvester_request_duration_seconds_count", ("main", "performance")] == 4
    assert found["harvester_request_duration_seconds_sum", ("main", "performance")] == pytest.approx(63.71)
    assert found["harvester_request_duration_seconds_bucket", ("main", "0.25", "performance")] == 2


def test_events_of_the_runner_are_counted() -> None:
    daemon = Daemon(MAIN)
    emit = daemon.metrics.emit
    emit(Event.ANSWERED, account="main", slice=PIECE, absent=0, rejects=2)
    daemon.clock.now += 60
    rows = RowCounts(new=5, unchanged=1, rejected=2)
    emit(Event.COMMITTED, account="main", slices=1, failed=0, rows=rows, resources=frozenset({"performance"}))
    found = daemon.read()
    assert found["harvester_rejects_total", ("main", "performance")] == 2
    assert found["harvester_rows_total", ("main", "new")] == 5
    assert found["harvester_rows_total", ("main", "rejected")] == 2
    assert found["harvester_last_success_timestamp_seconds", ("main", "performance")] == 1_700_000_060


def test_an_older_success_does_not_hide_a_newer_one() -> None:
    daemon = Daemon(replace(MAIN, last_success={"performance": 1_700_000_500.0}))
    daemon.metrics.committed("main", RowCounts(), ["performance", "volume"])
    found = daemon.read()
    assert found["harvester_last_success_timestamp_seconds", ("main", "performance")] == 1_700_000_500
    assert found["harvester_last_success_timestamp_seconds", ("main", "volume")] == 1_700_000_000


@pytest.mark.parametrize(
    ("event", "facts"),
    [
        (Event.THROTTLED, {"account": "main", "slice": PIECE}),
        (Event.COMMITTED, {}),
        (Event.COMMITTED, {"account": "main", "rows": 5}),
        (Event.COMMITTED, {"account": "main", "rows": RowCounts(), "resources": None}),
        (Event.ANSWERED, {"account": "main", "rejects": 1}),
        (Event.ANSWERED, {"account": None, "slice": PIECE, "rejects": 1}),
    ],
)
def test_other_events_and_other_facts_change_nothing(event: Event, facts: dict[str, object]) -> None:
    daemon = Daemon(MAIN)
    before = daemon.read()
    daemon.metrics.emit(event, **facts)
    after = daemon.read()
    assert {key: value for key, value in after.items() if key[0].startswith("harvester")} == {
        key: value for key, value in before.items() if key[0].startswith("harvester")
    }


def test_waiting_is_counted_while_it_lasts() -> None:
    daemon = Daemon(MAIN)
    waited = ("harvester_quota_wait_seconds_total", ("main",))
    begin = daemon.clock.monotonic()
    daemon.metrics.waiting("main", begin + 100)
    daemon.clock.now += 30
    assert daemon.read()[waited] == 30
    daemon.metrics.waiting("main", begin + 60)  # something was observed
    daemon.clock.now += 10
    daemon.metrics.waiting("main", None)
    daemon.clock.now += 1000
    assert daemon.read()[waited] == 40


def test_a_wait_without_a_reported_end_ends_at_its_moment() -> None:
    daemon = Daemon(MAIN)
    daemon.metrics.waiting("main", daemon.clock.monotonic() + 100)
    daemon.clock.now += 5000
    assert daemon.read()["harvester_quota_wait_seconds_total", ("main",)] == 100


def test_a_failed_reload_keeps_the_time_of_the_last_good_one() -> None:
    daemon = Daemon()
    successful, at = (
        ("harvester_config_last_reload_successful", ()),
        ("harvester_config_last_reload_success_timestamp_seconds", ()),
    )
    assert daemon.read()[successful] == 1
    daemon.clock.now += 10
    daemon.metrics.reloaded(successful=False)
    found = daemon.read()
    assert (found[successful], found[at]) == (0, 1_700_000_000)
    daemon.metrics.reloaded(successful=True)
    found = daemon.read()
    assert (found[successful], found[at]) == (1, 1_700_000_010)


def test_versions_and_process_metrics() -> None:
    found = Daemon().read()
    (version,) = [labels for name, labels in found if name == "harvester_build_info"]
    assert __version__ in version
    assert found["process_start_time_seconds", ()] == 1_700_000_000
    assert found["process_cpu_seconds_total", ()] > 0


def test_two_instances_in_one_process_are_independent() -> None:
    one, other = Daemon(MAIN), Daemon(MAIN)
    one.metrics.request("main", "performance", "200", 1.0)
    key = ("harvester_requests_total", ("main", "performance", "200"))
    assert key in one.read()
    assert key not in other.read()


def test_counters_have_no_creation_series() -> None:
    daemon = Daemon(MAIN)
    daemon.metrics.request("main", "performance", "200", 1.0)
    assert b"_created" not in daemon.metrics.text()


@pytest.mark.parametrize("file", ["alerts.yml", "grafana.json"])
def test_every_metric_that_the_docs_use_exists(file: str) -> None:
    text = (DOCS / file).read_text(encoding="utf-8")
    asked = set(re.findall(r"\b(?:harvester|process)_[a-z_]+", text))
    daemon = Daemon(MAIN)
    daemon.metrics.request("main", "performance", "200", 1.0)
    assert asked - {name for name, _ in daemon.read()} == set()
    assert len(asked) >= 8


def test_the_dashboard_is_well_formed() -> None:
    panels = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (p["x"] + x, p["y"] + y)
        for p in (panel["gridPos"] for panel in panels)
        for x in range(p["w"])
        for y in range(p["h"])
    ]
    assert len(set(places)) == len(places)  # no panel lies on another
    assert all(0 <= x < GRID_WIDTH for x, _ in places)
