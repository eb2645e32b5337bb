"""The quota through the whole runner, in virtual time: as early as can be, and never one request too many."""

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
        pytest.param(QUARTER, SIX_HUNDRED, 0.0, id="as it should be"),
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
def test_all_is_done_at_the_earliest_moment_without_a_429(
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
def test_nobody_waits_for_a_roll_when_the_rest_fits_into_the_window(tmp_path: Path, offset: float) -> None:
    # In short windows the last requests of a window are kept to set the clock by, as long as more are wanted.
    desired = replace(SIX_HUNDRED, window=8, rate=1000)
    options = replace(QUARTER, window=8, clock_offset=offset)
    rig = Rig(tmp_path / "store.db", desired, options)
    process = rig.run()
    earliest = Ideal(options, desired, START).seconds(REQUESTS)
    assert rig.statuses() == {200: REQUESTS}
    assert earliest <= process.elapsed <= 1.03 * earliest


def test_a_neighbour_without_reserve_costs_at_most_one_429_a_window(tmp_path: Path) -> None:
    # 600 requests and 300 or so a window of somebody else's: what is left is used, and no slice pays for it.
    rig = Rig(tmp_path / "store.db", SIX_HUNDRED, replace(QUARTER, neighbour=300))
    process = rig.run()
    windows = len(rig.api.requests_per_window())
    assert process.error is None
    assert process.report.rate_limited == rig.statuses()[429] <= windows
    assert (process.report.retries, process.report.slices.failed) == (0, 0)
    assert rig.rows() == rig.truth()


def test_a_server_without_quota_headers_is_asked_by_the_configured_windows(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", SIX_HUNDRED, Options(latency=0.02, reset_style=ResetStyle.ABSENT))
    process = rig.run()
    assert process.error is None
    assert rig.statuses() == {200: REQUESTS}
    assert rig.most_per_window() <= 150


def test_waiting_for_the_quota_is_not_busy(tmp_path: Path) -> None:
    # Twice as many windows to wait for, and not one request more: what is added is the cost of waiting.
    rigs = [
        Rig(tmp_path / f"{limit}.db", replace(SIX_HUNDRED, limit=limit), replace(QUARTER, limit=limit))
        for limit in (60, 30)
    ]
    few, many = (rig.run().loop.steps for rig in rigs)
    windows = [len(rig.api.requests_per_window()) for rig in rigs]
    naps = 900 / 15
    assert windows == [10, 20]
    assert 0 < (many - few) / 10 < 12 * naps


def test_who_waits_for_the_quota_holds_no_place(tmp_path: Path) -> None:
    # Other accounts of the process share slots and room; they must not wait for this one's quota.
    rig = Rig(tmp_path / "store.db", SIX_HUNDRED, QUARTER)
    free: list[tuple[int, int]] = []
    rig.run({moment: lambda process: free.append(process.free_places()) for moment in (100.0, 300.0, 1000.0)})
    assert free == [(8, 16)] * 3
