from __future__ import annotations

from datetime import date

from harvester.config import Account, Phone
from harvester.core.model import RowCounts, RunReport, SliceCounts
from harvester.daemon.account_state import AccountState, Phase
from harvester.daemon.health import gauges_of, status_line
from tests.support.at_work import EPOCH, coordinator_of, throttle_of


def state(name: str = "main", phase: Phase = Phase.IDLE, reason: str = "") -> AccountState:
    account = Account(name=name, login=name, phones=(Phone("8005550100"),), start=date(2023, 1, 1))
    return AccountState(account, phase, reason)


def working(outstanding: int, in_flight: int = 0, remaining: int = 150) -> AccountState:
    found = state(phase=Phase.WORKING)
    found.coordinator = coordinator_of(found.account, RunReport("main"), outstanding=outstanding, in_flight=in_flight)
    found.throttle = throttle_of(remaining=remaining)
    return found


def test_the_status_line_counts_accounts_by_phase() -> None:
    states = [state("a"), state("b"), state("c", Phase.STANDBY), state("d", Phase.PAUSED, "401")]
    assert status_line(states) == "2 idle, 1 paused, 1 standby"
    assert status_line([]) == "no accounts"


def test_the_status_line_of_accounts_at_work_has_slices_and_quota() -> None:
    assert status_line([working(1, remaining=20)]) == "1 working; 1 slice to go; quota 20 of 150 left"
    states = [working(1_000, 2), working(500, remaining=20)]
    assert status_line(states) == "2 working; 1,500 slices to go; quota 170 of 300 left"


def test_an_outage_is_no_phase_but_makes_the_account_unavailable() -> None:
    found = working(5)
    assert found.coordinator is not None
    found.coordinator.progress.last_outage = "the connection closed"
    found.coordinator.breaker.trip(0.0)
    assert found.outage == "The API cannot be reached: the connection closed"
    assert status_line([found]) == "1 unreachable; 5 slices to go; quota 150 of 150 left"
    assert not gauges_of(found, EPOCH).up
    found.enter(Phase.STANDBY)
    assert found.outage is None
    assert gauges_of(found, EPOCH).up


def test_slices_of_finished_rounds_and_of_the_present_one_are_added() -> None:
    found = working(7, 2)
    found.add(RunReport("main", slices=SliceCounts(done=10, failed=1), rows=RowCounts(new=5)))
    assert found.coordinator is not None
    found.coordinator.report.slices.done = 3
    assert gauges_of(found, EPOCH).slices == {"pending": 5, "in_flight": 2, "done": 13, "failed": 1}
    found.enter(Phase.IDLE)
    assert gauges_of(found, EPOCH).slices == {"pending": 0, "in_flight": 0, "done": 10, "failed": 1}


def test_a_change_of_phase_or_reason_is_reported_once() -> None:
    found = state(phase=Phase.STARTING)
    assert found.enter(Phase.PAUSED, "401")
    assert not found.enter(Phase.PAUSED, "401")
    assert found.enter(Phase.PAUSED, "403")
    assert not found.ready
    assert found.enter(Phase.IDLE)
    assert found.ready
