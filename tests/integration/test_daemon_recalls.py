"""A daemon whose plan is recalled each minute: attempts, searches and outages outlive the recall."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path

from pydantic import SecretStr

from harvester import config
from harvester.config import Account as ConfiguredAccount
from harvester.daemon.account_worker import AccountWorker
from harvester.engine.process import build_process
from harvester.events import Event
from harvester.simulator.faults import Fault, Faults
from harvester.simulator.options import Account, Options
from harvester.store.claims import Database
from tests.support.databases import query
from tests.support.in_process import Disk, InProcessTransport, Loop, NetworkState
from tests.support.rig import START, URL, Rig
from tests.support.virtual import VirtualClock

PHONES = ("8005550001", "8005550002")
MINUTE = 60.0


class RecalledDaemon:
    """An AccountWorker in virtual time, woken by a tick each minute."""

    def __init__(self, folder: Path, options: Options, *, concurrency: int = 1) -> None:
        self.rig = Rig(folder / "store.db", options=options, account=Account(direct=True))
        self.loop = Loop()
        self.clock = VirtualClock(self.loop, START)
        self.rig.wire.now = lambda: START + self.loop.time()
        self.events: list[Event] = []
        secret = config.Secret(place="the test", value=SecretStr(self.rig.account.password))
        account = config.Account(
            name="main",
            login=self.rig.account.login,
            phones=tuple(config.Phone(number) for number in PHONES),
            start=date(2023, 9, 1),
            api=config.Api(base_url=URL),
            password=config.PasswordSources(environment=secret),
        )
        settings = config.Settings(
            database=config.Database(url=self.rig.url),
            api=config.ProcessApi(concurrency=concurrency),
            accounts={"main": account},
        )
        database = Database(self.rig.url, executor=Disk(), now=self.clock.time)
        transport = InProcessTransport(self.rig.wire)

        def connect(_: ConfiguredAccount) -> AbstractAsyncContextManager[InProcessTransport]:
            return nullcontext(transport)

        async def run_blocking(function: Callable[[], str]) -> str:
            return function()

        def emit(event: Event, /, **facts: object) -> None:
            assert event is not Event.BUG, facts
            self.events.append(event)

        process = replace(
            build_process(settings, {}, database, clock=self.clock, emit=emit),
            transport=connect,
            jitter=lambda: 0.5,
            run_blocking=run_blocking,
        )
        self.database = database
        self.worker = AccountWorker(process, settings.accounts["main"], refreshed=lambda: None)

    def run(self, minutes: int) -> None:
        """Let it work for so long."""

        async def main() -> None:
            running = asyncio.create_task(self.worker.run())
            for _ in range(minutes):
                await asyncio.sleep(MINUTE)
                self.worker.tick()
            self.outage = self.worker.state.outage
            self.worker.stop()
            await running
            await self.database.close()

        try:
            self.loop.run_until_complete(main())
        finally:
            self.loop.close_after_death()

    def stored_days(self) -> int:
        """Return the number of complete days that are stored."""
        rows = query(self.rig.url, "SELECT DISTINCT phone, epoch FROM metric_values WHERE complete")
        return len(rows)


def test_a_width_that_times_out_is_found_although_each_request_takes_as_long_as_a_round(tmp_path: Path) -> None:
    options = Options(latency=0.02, max_days=100, wide_fault=Fault.SLOW, faults=Faults(slow_seconds=100.0))
    daemon = RecalledDaemon(tmp_path, options)
    daemon.run(minutes=15)
    assert daemon.stored_days() == len(PHONES) * 364, "from 2023-09-01 to yesterday, 2024-08-29"
    assert Event.UNREACHABLE not in daemon.events


def test_a_slice_that_always_times_out_fails_after_its_attempts_and_is_left_to_its_cooldown(tmp_path: Path) -> None:
    daemon = RecalledDaemon(tmp_path, Options(latency=0.02, faults=Faults(slow_seconds=100.0)), concurrency=2)
    daemon.rig.api.inject(Fault.SLOW, 1000, where=PHONES[0])
    daemon.run(minutes=12)
    failed = [visit for visit in daemon.rig.visits if PHONES[0] in visit.path]
    assert daemon.events.count(Event.FAILED) == 1
    assert len(failed) <= 7, "five attempts, a test, and no more before the cool-down has ended"
    assert daemon.stored_days() == 364


def test_an_api_that_never_answers_is_found_to_be_unreachable(tmp_path: Path) -> None:
    daemon = RecalledDaemon(tmp_path, Options(latency=0.02))
    daemon.rig.wire.outages.append((START, START + 1e9, NetworkState.UNANSWERED))
    daemon.run(minutes=6)
    assert daemon.outage is not None
    assert Event.UNREACHABLE in daemon.events


def test_a_host_two_days_ahead_takes_today_from_the_server_once_it_was_heard(tmp_path: Path) -> None:
    daemon = RecalledDaemon(tmp_path, Options(latency=0.02, clock_offset=-2 * 86_400.0))
    daemon.run(minutes=3)
    first, last = daemon.rig.visits[0], daemon.rig.visits[-1]
    assert "20240830" in first.path, "by the host's clock"
    assert "20240828" in last.path
    assert "20240830" not in last.path
    assert daemon.events.count(Event.CLOCK_SKEWED) == 1
