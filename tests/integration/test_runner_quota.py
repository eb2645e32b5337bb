"""The quota through the whole runner, in virtual time: done as early as possible, and never a request too many."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from harvester.simulator.options import Options, ResetStyle
from tests.support.ideal import Ideal
from tests.support.rig import START, Desired, Rig

QUARTER = Options(latency=0.02)
SIX_HUNDRED = Desired(first=date(2023, 1, 1), last=date(2023, 4, 30), max_days=1)  # five phones, 120 days, a day each
REQUESTS = 600


@pytest.mark.parametrize(
    ("options", "desired", "host_ahead"),
    [
        pytest.param(QUARTER, SIX_HUNDRED, 0.0, id="clocks agree"),
        pytest.param(replace(QUARTER, clock_offset=2.4), SIX_HUNDRED, 0.0, id="server ahead"),
        pytest.param(replace(QUARTER, clock_offset=-2.4), SIX_HUNDRED, 0.0, id="server behind"),
        pytest.param(replace(QUARTER, clock_offset=7200.5), SIX_HUNDRED, 0.0, id="server hours ahead"),
        pytest.param(replace(QUARTER, clock_offset=-12_345.67), SIX_HUNDRED, 0.0, id="server hours behind"),
        pytest.param(QUARTER, SIX_HUNDRED, -5000.3, id="host behind"),
        pytest.param(replace(QUARTER, jitter=0.08), SIX_HUNDRED, 0.0, id="answers out of order"),
        pytest.param(replace(QUARTER, latency=0.3), SIX_HUNDRED, 0.0, id="far away"),
        pytest.param(replace(QUARTER, latency=5.0), SIX_HUNDRED, 0.0, id="slow"),
        pytest.param(replace(QUARTER, latency=5.0), replace(SIX_HUNDRED, concurrency=1), 0.0, id="slow, one at a time"),
        pytest.param(QUARTER, replace(SIX_HUNDRED, concurrency=1), 0.0, id="one at a time"),
        pytest.param(replace(QUARTER, latency=1.0), replace(SIX_HUNDRED, concurrency=32), 0.0, id="32 at a time"),
        pytest.param(QUARTER, replace(SIX_HUNDRED, reserve=40), 0.0, id="reserve"),
        pytest.param(replace(QUARTER, neighbour=40), replace(SIX_HUNDRED, reserve=40), 0.0, id="neighbour, reserve"),
        pytest.param(
            replace(QUARTER, limit=15, clock_drift=50, clock_origin=START),
            replace(SIX_HUNDRED, limit=15),
            0.0,
            id="fast",
        ),
        pytest.param(
            replace(QUARTER, limit=15, clock_drift=-50, clock_origin=START),
            replace(SIX_HUNDRED, limit=15),
            0.0,
            id="lag",
        ),
    ],
)
def test_a_plan_ends_at_the_earliest_moment_without_a_429(
    tmp_path: Path, options: Options, desired: Desired, host_ahead: float
) -> None:
    rig = Rig(tmp_path / "store.db", desired, options, host_ahead=host_ahead)
    process = rig.run()
    assert process.error is None
    assert rig.statuses() == {200: REQUESTS}
    assert rig.most_per_window() <= min(options.limit, desired.limit) - desired.reserve
    earliest = Ideal(options, desired, START).seconds(REQUESTS)
    assert earliest <= process.elapsed <= 1.01 * earliest
    assert rig.rows() == rig.truth()


@pytest.mark.parametrize("offset", [-2.4, 0.0, 2.4])
def test_no_worker_waits_for_the_next_window_if_this_one_suffices(tmp_path: Path, offset: float) -> None:
    # In short windows the last requests of a window measure the server's clock, as long as more are wanted.
    desired = replace(SIX_HUNDRED, window=8, rate=1000)
    options = replace(QUARTER, window=8, clock_offset=offset)
    rig = Rig(tmp_path / "store.db", desired, options)
    process = rig.run()
    earliest = Ideal(options, desired, START).seconds(REQUESTS)
    assert rig.statuses() == {200: REQUESTS}
    assert earliest <= process.elapsed <= 1.03 * earliest


def test_another_client_without_reserve_costs_at_most_one_429_per_window(tmp_path: Path) -> None:
    # 600 requests beside about 300 of another client per window: the rest is used, and no slice is charged a try.
    rig = Rig(tmp_path / "store.db", SIX_HUNDRED, replace(QUARTER, neighbour=300))
    process = rig.run()
    windows = len(rig.api.requests_per_window())
    assert process.error is None
    assert process.report.rate_limited == rig.statuses()[429] <= windows
    assert (process.report.retries, process.report.slices.failed) == (0, 0)
    assert rig.rows() == rig.truth()


def test_without_quota_headers_the_configured_quota_applies(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", SIX_HUNDRED, Options(latency=0.02, reset_style=ResetStyle.ABSENT))
    process = rig.run()
    assert process.error is None
    assert rig.statuses() == {200: REQUESTS}
    assert rig.most_per_window() <= 150


def test_waiting_for_the_quota_does_not_spin(tmp_path: Path) -> None:
    # Twice as many windows and the same number of requests: the difference is the cost of waiting.
    rigs = [
        Rig(tmp_path / f"{limit}.db", replace(SIX_HUNDRED, limit=limit), replace(QUARTER, limit=limit))
        for limit in (60, 30)
    ]
    few, many = (rig.run().loop.steps for rig in rigs)
    windows = [len(rig.api.requests_per_window()) for rig in rigs]
    sleeps = 900 / 15  # per window
    assert windows == [10, 20]
    assert 0 < (many - few) / 10 < 12 * sleeps


def test_a_wait_for_the_quota_takes_no_place(tmp_path: Path) -> None:
    # Other accounts of the process share slots and capacity; they must not wait for this account's quota.
    rig = Rig(tmp_path / "store.db", SIX_HUNDRED, QUARTER)
    free: list[tuple[int, int]] = []
    rig.run({moment: lambda process: free.append(process.free_places()) for moment in (100.0, 300.0, 1000.0)})
    assert free == [(8, 16)] * 3
