"""Other ways to end, in virtual time: an interrupt, a wrong calendar, a failing store. No task or slot is left."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from harvester.core.period import Calendar, Period, WeekStart
from harvester.errors import CalendarMismatch, HarvesterError, Interrupted, StoreError, StoreLost
from harvester.events import Event
from harvester.simulator.options import Options
from harvester.simulator.world import World
from tests.support.in_process import NetworkState
from tests.support.rig import START, Desired, Rig, RigProcess

NEAR = Options(latency=0.02)
SLOW = Options(latency=2.0)
PHONES = tuple(f"800555{number:04}" for number in range(20))
MONTHS = Desired(phones=PHONES, max_days=31)  # 240 slices: two windows
FEW = replace(MONTHS, phones=PHONES[:4])  # 48 slices
TOKYO = Calendar(ZoneInfo("Asia/Tokyo"))


def assert_nothing_is_left(process: RigProcess, concurrency: int = 8) -> None:
    assert process.leftover == set()
    assert process.free_places() == (concurrency, 2 * concurrency)
    assert process.rig.wire.in_flight == 0


def approx(seconds: float) -> object:
    return pytest.approx(seconds, abs=0.001)  # each step of the loop takes a microsecond


def interrupt(process: RigProcess) -> None:
    process.interrupt()


def cancel(process: RigProcess) -> None:
    process.cancel()


@pytest.mark.parametrize("moment", [0.001, 1.0, 2.5, 3.0, 7.7])
def test_an_interrupt_finishes_the_requests_in_flight(tmp_path: Path, moment: float) -> None:
    rig = Rig(tmp_path / "store.db", MONTHS, SLOW)
    process = rig.run({moment: interrupt})
    assert isinstance(process.error, Interrupted)
    assert process.elapsed <= moment + 2.1
    assert process.report.requests == process.report.slices.done == len(rig.visits)
    assert_nothing_is_left(process)
    assert rig.run().error is None
    assert len(rig.visits) == 240, "nothing was requested twice"
    assert rig.rows() == rig.truth()


def test_an_interrupt_ends_a_wait_for_the_quota_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", MONTHS, NEAR)
    process = rig.run({60.0: interrupt})
    assert isinstance(process.error, Interrupted)
    assert process.elapsed == approx(60.0)
    assert process.report.slices.done == 150
    assert_nothing_is_left(process)


def test_an_interrupt_ends_the_pause_before_a_probe_and_an_exchange_at_once(tmp_path: Path) -> None:
    for kind in (NetworkState.REFUSED, NetworkState.UNDELIVERED):
        rig = Rig(tmp_path / f"{kind.name}.db", MONTHS, NEAR)
        rig.wire.outages.append((START, START + 1000, kind))
        process = rig.run({15.0: interrupt})
        assert isinstance(process.error, Interrupted)
        assert process.elapsed == approx(15.0)
        assert_nothing_is_left(process)


def test_an_unanswered_request_is_cancelled_ten_seconds_after_an_interrupt(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", MONTHS, NEAR)
    rig.wire.outages.append((START + 2, START + 1000, NetworkState.UNANSWERED))
    process = rig.run({3.0: interrupt})
    assert isinstance(process.error, Interrupted)
    assert process.elapsed == approx(13.0)
    assert process.report.requests == len(rig.visits)
    assert process.report.slices.done == process.report.requests - 8
    assert_nothing_is_left(process)


@pytest.mark.parametrize("state", [NetworkState.UNANSWERED, NetworkState.UP])
def test_a_second_interrupt_ends_at_once(tmp_path: Path, state: NetworkState) -> None:
    rig = Rig(tmp_path / "store.db", MONTHS, SLOW)
    rig.wire.outages.append((START + 2, START + 1000, state))
    process = rig.run({4.5: interrupt, 5.0: cancel})
    assert process.cancelled
    assert process.elapsed == approx(5.0)
    assert process.leftover == set()
    assert process.slots._value == 8  # noqa: SLF001 - there is no public way to ask
    rig.wire.outages.clear()
    assert rig.run().error is None
    assert rig.rows() == rig.truth()


@pytest.mark.parametrize("concurrency", [1, 8, 32])
def test_a_wrong_zone_costs_one_request_and_stores_nothing(tmp_path: Path, concurrency: int) -> None:
    rig = Rig(tmp_path / "store.db", replace(MONTHS, concurrency=concurrency), NEAR, calendar=TOKYO)
    process = rig.run()
    assert isinstance(process.error, CalendarMismatch)
    assert (process.error.setting, process.error.fits) == ("timezone", "America/New_York")
    assert len(rig.visits) == process.report.requests == 1, "the quota is unknown, so one request goes first"
    assert rig.rows() == {}
    assert_nothing_is_left(process, concurrency)


def test_a_wrong_week_start_costs_one_request(tmp_path: Path) -> None:
    monday = Calendar(ZoneInfo("America/New_York"), WeekStart.MONDAY)
    rig = Rig(tmp_path / "store.db", replace(MONTHS, period=Period.WEEK), NEAR, calendar=monday)
    process = rig.run()
    assert isinstance(process.error, CalendarMismatch)
    assert (process.error.setting, process.error.fits) == ("week_start", "sunday")
    assert len(rig.visits) == 1


def test_a_server_that_changes_its_zone_costs_what_is_in_flight(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", MONTHS, SLOW)

    def move(_: RigProcess) -> None:
        account = replace(rig.account, world=World(calendar=TOKYO))
        rig.api.accounts[account.name] = account

    process = rig.run({7.0: move})
    assert isinstance(process.error, CalendarMismatch)
    assert process.report.requests - process.report.slices.done <= 8
    assert rig.rows().items() <= rig.truth().items()
    assert_nothing_is_left(process)


@pytest.mark.parametrize("error", [StoreError("full"), StoreLost("gone")])
@pytest.mark.parametrize(("failing", "for_ever"), [(1, True), (2, False), (4, True), (1, False)])
@pytest.mark.parametrize("options", [NEAR, SLOW], ids=["near", "slow"])
@pytest.mark.parametrize("delay", [0.0, 3.0])
def test_after_a_failed_commit_nothing_more_is_sent(
    tmp_path: Path,
    error: HarvesterError,
    failing: int,
    for_ever: bool,  # noqa: FBT001 - a case
    options: Options,
    delay: float,
) -> None:
    rig = Rig(tmp_path / "store.db", FEW, options)
    sent_at_failure: list[int] = []

    def fails(commit: int) -> HarvesterError | None:
        if commit == failing or (for_ever and commit > failing):
            sent_at_failure.append(rig.wire.sent)
            return error
        return None

    rig.store_fails, rig.store_delay = fails, delay
    process = rig.run()
    assert process.error is error
    assert rig.wire.sent == sent_at_failure[0]
    assert [facts["error"] for facts in process.emitted(Event.STORE_FAILED)] == [str(error)]
    assert len(rig.rows()) == process.report.rows.new, "only what was reported is stored"
    assert_nothing_is_left(process)
    rig.store_fails, rig.store_delay = lambda _: None, 0.0
    assert rig.run().error is None
    assert rig.rows() == rig.truth()


def test_workers_that_may_not_send_let_the_failure_be_noticed(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", replace(FEW, rate=inf), NEAR)
    rig.store_fails, rig.store_delay = lambda _: StoreError("locked"), 3.0
    process = rig.run()
    assert isinstance(process.error, StoreError)
    assert_nothing_is_left(process)


@pytest.mark.parametrize("pages", [5, 30])
def test_a_full_disk_ends_the_run_and_leaves_whole_slices(tmp_path: Path, pages: int) -> None:
    rig = Rig(tmp_path / "store.db", FEW, NEAR)

    def fill(process: RigProcess) -> None:
        session = process.database._connection  # noqa: SLF001 - a full disk cannot be had otherwise
        assert session is not None
        with session.transaction() as connection:
            count = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {count + pages}")

    process = rig.run({1.0: fill})
    assert isinstance(process.error, StoreError)
    assert "full" in str(process.error)
    assert len(rig.rows()) == process.report.rows.new
    assert_nothing_is_left(process)
    sent = len(rig.visits)
    assert sent - process.report.slices.done <= 2 * 8
    assert rig.run().error is None
    assert rig.rows() == rig.truth()


def test_allowance_that_cannot_be_stored_is_not_spent(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", MONTHS, NEAR)

    def lose_disk(process: RigProcess) -> None:
        process.disk.dead = True

    process = rig.run({0.001: lose_disk})
    assert isinstance(process.error, StoreLost)
    assert rig.wire.sent == 0
    assert_nothing_is_left(process)
