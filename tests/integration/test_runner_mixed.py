"""All faults together, by seed: the counts agree and the table equals the truth."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random

import pytest

from harvester.core.period import Period
from harvester.events import Event
from harvester.simulator.faults import Fault, Faults
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.examples import first
from tests.support.in_process import NetworkState
from tests.support.rig import START, Desired, Rig

PHONES = tuple(f"800555{number:04}" for number in range(8))
FAULT_NAMES = (
    *("server_error", "bad_gateway", "unavailable", "html", "throttle", "dead", "drop", "drop_body", "cut"),
    *("cut_chunked", "junk", "slow", "slow_body"),
)


def random_rig(path: Path, seed: int) -> Rig:
    """Return a rig with a random server, random faults and a random plan."""
    random = Random(seed)  # noqa: S311 - a scenario, not a secret
    odds = {kind: random.choice([0, 0, 0.01, 0.03]) for kind in FAULT_NAMES}
    options = Options(
        seed=seed,
        faults=Faults(**odds, slow_seconds=random.choice([1.0, 70.0])),
        auth_faults=Faults(server_error=random.choice([0, 0.2]), html=random.choice([0, 0.1])),
        latency=random.choice([0.01, 0.3, 2.0]),
        jitter=random.choice([0.0, 0.5]),
        clock_offset=random.choice([0.0, 2.4, -2.4, 5000.0]),
        neighbour=random.choice([0, 0, 30]),
        retry_after=random.random() < 0.5,
        max_days=random.choice([None, 100]),
        wide_status=random.choice([400, 500]),
        single_pair=random.random() < 0.5,
        gzip=random.random() < 0.5,
    )
    desired = Desired(
        phones=PHONES[: random.randint(1, 8)],
        first=date(2023, random.randint(1, 12), 1),
        last=date(2024, random.randint(1, 7), 17),
        period=random.choice(list(Period)),
        resource=random.choice(["performance", "volume", "events", "profile"]),
        max_days=random.choice([7, 31, 366]),
        concurrency=random.choice([1, 4, 8, 32]),
        reserve=random.choice([0, 35]),
    )
    owned = None if random.random() < 0.7 else PHONES[1:]
    rig = Rig(path, desired, options, Account(world=World(seed, phones=owned)), seed=seed)
    if random.random() < 0.3:
        begin = START + random.uniform(0, 10)
        rig.wire.outages.append((begin, begin + 20, random.choice([*NetworkState])))
    return rig


@pytest.mark.parametrize("seed", first(20, range(60)))
def test_the_counts_agree_and_the_table_equals_the_truth(tmp_path: Path, seed: int) -> None:
    rig = random_rig(tmp_path / "store.db", seed)
    process = rig.run()
    report, slices = process.report, process.report.slices
    assert report.requests == rig.wire.sent
    if not any(kind is NetworkState.UNDELIVERED for *_, kind in rig.wire.outages):
        assert report.requests == len(rig.visits)
    assert report.rate_limited == rig.statuses()[429]
    throttles = sum(visit.fault is Fault.THROTTLE for visit in rig.visits)
    other_client = rig.api.options.neighbour > rig.desired.reserve
    assert report.rate_limited <= throttles + other_client * len(rig.api.requests_per_window())
    assert rig.most_per_window() <= 150 - rig.desired.reserve
    assert len(report.failed) == slices.failed
    assert process.leftover == set()
    assert process.free_places() == (rig.desired.concurrency, 2 * rig.desired.concurrency)
    assert process.most_unstored <= 2 * rig.desired.concurrency
    stored = rig.rows()
    assert report.rows.new == len(stored)
    if process.error is None:
        assert slices.planned == slices.done + slices.failed
        assert len(process.emitted(Event.ANSWERED)) == slices.done
    assert stored.items() <= whole_periods(rig).items()
    assert_next_run_completes(rig)


def assert_next_run_completes(rig: Rig) -> None:
    """Without faults the next run completes the table, except for numbers of another account."""
    rig.api.options = replace(
        rig.api.options, faults=Faults(), auth_faults=Faults(), max_days=None, latency=0.01, jitter=0.0
    )
    rig.api.injected.clear()
    rig.wire.outages.clear()
    rig.wait(3600)
    process = rig.run()
    mine = [phone for phone in rig.desired.phones if rig.account.world.serves(phone)]
    if not mine:
        assert rig.rows() == {}
        return
    assert process.error is None
    assert {failed.slice.series.phone for failed in process.report.failed} <= set(rig.desired.phones) - set(mine)
    assert rig.rows() == whole_periods(rig, mine)


def whole_periods(rig: Rig, phones: list[str] | None = None) -> dict[tuple[str, int, str], float | None]:
    """Return the truth of the desired range, widened to whole weeks or months as requests are."""
    desired, calendar = rig.desired, rig.calendar
    first, last = calendar.floor(desired.period, desired.first), calendar.last(desired.period, desired.last)
    rig.desired = replace(desired, first=first, last=last)
    try:
        return rig.truth(phones)
    finally:
        rig.desired = desired
