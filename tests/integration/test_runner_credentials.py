"""Credentials through the whole runner, in virtual time: exchanged once for all workers, without spending the quota."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from harvester.errors import CredentialsRefused
from harvester.events import Event
from harvester.simulator.faults import Fault
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.in_process import NetworkState
from tests.support.rig import START, Desired, Rig, RigProcess

NEAR = Options(latency=0.02)
SLOW = Options(latency=1.0, limit=1000, single_pair=True)  # eight in flight at any moment
PHONES = tuple(f"800555{number:04}" for number in range(5))
OTHERS = ("8885550000",)
YEARS = Desired(phones=PHONES)
MONTHS = Desired(phones=PHONES, max_days=31, limit=1000)


def owning(*phones: str, direct: bool = False) -> Account:
    return Account(direct=direct, world=World(phones=phones))


def expire(process: RigProcess) -> None:
    process.rig.api.registry.expire()


def test_an_auth_that_is_down_for_twenty_seconds_is_survived(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", YEARS, NEAR)
    rig.wire.outages.append((START, START + 20, NetworkState.REFUSED))
    process = rig.run()
    assert process.error is None
    assert process.elapsed < 30
    assert len(rig.auths) == 1
    assert len(process.emitted(Event.NO_CREDENTIALS)) <= 7, "one exchange for all workers, with growing pauses"


def test_an_auth_that_is_down_when_a_pair_expires_is_survived(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", MONTHS, replace(SLOW, latency=0.02))
    rig.wire.api.inject(Fault.UNAVAILABLE, 4, where="/auth")
    process = rig.run({8.0: expire})
    assert process.error is None
    assert not process.report.failed
    assert rig.rows() == rig.truth()


@pytest.mark.parametrize("retry_after", [True, False])
def test_a_throttled_auth_waits_for_its_window(tmp_path: Path, retry_after: bool) -> None:  # noqa: FBT001 - a case
    rig = Rig(tmp_path / "store.db", YEARS, replace(NEAR, retry_after=retry_after))
    rig.api.inject(Fault.THROTTLE, 2, where="/auth")
    process = rig.run()
    assert process.error is None
    assert len(rig.auths) == 3
    assert process.elapsed < 1500 + 10, "the rest of one window, and one more"


def test_a_throttled_auth_is_no_outage(tmp_path: Path) -> None:
    # Down, throttled for ten minutes, down again: never down for GIVE_UP_AFTER.
    rig = Rig(tmp_path / "store.db", YEARS, NEAR)
    rig.api.inject(Fault.SERVER_ERROR, 1, where="/auth")
    rig.api.inject(Fault.THROTTLE, 1, where="/auth")
    rig.api.inject(Fault.SERVER_ERROR, 2, where="/auth")
    process = rig.run()
    assert process.error is None
    assert rig.rows() == rig.truth()


@pytest.mark.parametrize("expiries", [(5.2,), (5.2, 8.3, 12.1), (5.9,)])
def test_an_expired_pair_is_renewed_once_for_all_in_flight(tmp_path: Path, expiries: Sequence[float]) -> None:
    rig = Rig(tmp_path / "store.db", MONTHS, SLOW)
    process = rig.run(dict.fromkeys(expiries, expire))
    assert process.error is None
    assert len(rig.auths) == 1 + len(expiries)
    assert rig.statuses()[401] <= 8 * len(expiries)
    assert not process.report.failed
    assert rig.rows() == rig.truth()


@pytest.mark.parametrize("seed", range(6))
def test_late_401s_of_an_old_pair_renew_nothing(tmp_path: Path, seed: int) -> None:
    # Answers take between 0.1 s and 6 s: the last 401 for the old pair comes long after the new pair.
    rig = Rig(tmp_path / "store.db", MONTHS, replace(SLOW, seed=seed, latency=0.1, jitter=6.0), seed=seed)
    process = rig.run({6.0: expire})
    assert process.error is None
    assert len(rig.auths) == 2
    assert 1 <= rig.statuses()[401] <= 8
    assert rig.rows() == rig.truth()


def test_a_pair_is_replaced_after_a_day(tmp_path: Path) -> None:
    desired = replace(YEARS, phones=PHONES[:1], max_days=1, first=date(2023, 6, 1), limit=2)
    rig = Rig(tmp_path / "store.db", desired, replace(NEAR, limit=2))
    process = rig.run()
    assert process.elapsed > 86_400
    assert rig.statuses() == {200: 214}, "not because of a 401"
    assert len(rig.auths) == 2


def test_a_number_of_another_account_fails_alone(tmp_path: Path) -> None:
    for account in (owning(*PHONES[1:]), owning(*PHONES[1:], direct=True), owning(*PHONES[:-1])):
        rig = Rig(tmp_path / f"{len(list(tmp_path.iterdir()))}.db", MONTHS, NEAR, account)
        process = rig.run()
        (foreign,) = set(PHONES) - set(account.world.phones or ())
        assert process.error is None
        assert {failed.slice.series.phone for failed in process.report.failed} == {foreign}
        assert process.report.slices.failed == 12
        assert len(rig.auths) <= 2
        assert rig.statuses()[401] <= 12 + 2, "a request for each slice; after a renewal the parked ones again"
        assert rig.rows() == rig.truth(account.world.phones)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("foreign", [OTHERS, (*OTHERS, "8885550001")])
def test_numbers_of_another_account_that_are_left_alone_fail_alone(
    tmp_path: Path,
    foreign: Sequence[str],
    direct: bool,  # noqa: FBT001 - a case
) -> None:
    rig = Rig(tmp_path / "store.db", replace(YEARS, phones=(*PHONES, *foreign)), NEAR, owning(*PHONES, direct=direct))
    rig.run()
    rig.desired.phones = foreign  # what is left: the rest is stored
    for _ in range(3):
        rig.wait(1800)
        sent, auths = rig.wire.sent, len(rig.auths)
        process = rig.run()
        assert process.error is None
        assert {failed.slice.series.phone for failed in process.report.failed} == set(foreign)
        assert rig.wire.sent - sent == len(foreign) + 1, "each of them, and one that worked before"
        assert len(rig.auths) - auths == (0 if direct else 1)
    assert rig.rows() == rig.truth(PHONES)


@pytest.mark.parametrize("direct", [False, True])
def test_an_account_that_was_closed_is_recognised_by_numbers_that_worked(
    tmp_path: Path,
    direct: bool,  # noqa: FBT001 - a case
) -> None:
    rig = Rig(tmp_path / "store.db", YEARS, NEAR, owning(*PHONES, direct=direct))
    rig.run()
    rig.desired.phones = (*OTHERS, *PHONES)
    rig.api.registry.suspend("main")
    rig.wait(1800)
    sent = rig.wire.sent
    process = rig.run()
    assert isinstance(process.error, CredentialsRefused)
    assert rig.wire.sent - sent <= 3


@pytest.mark.parametrize("concurrency", [1, 8, 32])
@pytest.mark.parametrize("direct", [False, True])
def test_refused_credentials_cost_few_requests(tmp_path: Path, concurrency: int, direct: bool) -> None:  # noqa: FBT001 - a case
    # Every number belongs to another account, or the pair is wrong: the API answers alike.
    desired = replace(YEARS, phones=tuple(f"800555{number:04}" for number in range(40)), concurrency=concurrency)
    rig = Rig(tmp_path / "store.db", desired, NEAR, owning(*OTHERS, direct=direct))
    process = rig.run()
    assert isinstance(process.error, CredentialsRefused)
    assert rig.wire.sent == (2 if direct else 4)
    assert len(rig.auths) == (0 if direct else 2)
    assert rig.rows() == {}


def test_credentials_refused_by_auth_cost_one_request(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", YEARS, NEAR)
    rig.api.suspend("main")
    process = rig.run()
    assert isinstance(process.error, CredentialsRefused)
    assert (len(rig.auths), rig.wire.sent) == (1, 0)


@pytest.mark.parametrize("direct", [False, True])
def test_an_account_that_is_closed_while_it_is_fetched_ends_the_run(tmp_path: Path, direct: bool) -> None:  # noqa: FBT001 - a case
    rig = Rig(tmp_path / "store.db", MONTHS, SLOW, Account(direct=direct))
    process = rig.run({5.2: lambda process: process.rig.api.suspend("main")})
    assert isinstance(process.error, CredentialsRefused)
    tried_again = 2 if direct else 0  # it was accepted a moment ago: it might be a limit on bursts
    assert rig.statuses()[401] == 8 + tried_again, "what was in flight"
    assert process.report.slices.done == rig.statuses()[200], "what was answered is stored"
    assert not process.report.failed


def test_fifteen_authentications_a_window_hold_over_restarts(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.db", MONTHS, NEAR)
    for _ in range(40):
        rig.run({0.03: lambda process: process.kill()})
    assert rig.run().error is None
    moments = sorted(visit.at for visit in rig.auths)
    assert len(moments) > 15
    assert all(later - earlier >= 900 for earlier, later in zip(moments, moments[15:], strict=False))
    assert {visit.status for visit in rig.auths} == {200}
    assert rig.rows() == rig.truth()
