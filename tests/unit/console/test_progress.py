from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Account, Phone, Quota
from harvester.console.progress import View, display_for, line, view_of
from harvester.console.progress.lines import BUSY_SECONDS, IDLE_SECONDS, LineSchedule
from harvester.core.model import RowCounts, RunReport, SliceCounts
from harvester.errors import CredentialsRefused, HarvesterError, Interrupted
from harvester.runner.coordinator import Coordinator
from harvester.throttle import Throttle
from tests.support.at_work import EPOCH, NOW, WINDOW, coordinator_of, throttle_of
from tests.support.virtual import VirtualClock, VirtualLoop, run_virtual


def wait_of(run: Run) -> float:
    """Seconds until its throttle sends again."""
    assert run.throttle is not None
    assert run.throttle.waiting_until is not None
    return run.throttle.waiting_until - NOW


@dataclass
class Run:
    """The attributes of an AccountRun that the display reads."""

    account: Account
    report: RunReport
    coordinator: Coordinator | None = None
    throttle: Throttle | None = None
    held_by: str | None = None


def running(
    name: str = "main",
    outstanding: int = 0,
    in_flight: int = 0,
    *,
    throttle: Throttle | None = None,
    reserve: int = 0,
    done: int = 0,
    failed: int = 0,
    end: HarvesterError | None = None,
) -> Run:
    """An account with a plan, `in_flight` of whose slices were taken."""
    account = Account(name=name, login=name, phones=(Phone("8005550100"),), quota=Quota(reserve=reserve))
    report = RunReport(name, requests=done, slices=SliceCounts(done=done, failed=failed))
    coordinator = coordinator_of(account, report, outstanding=outstanding, in_flight=in_flight)
    if end is not None:
        coordinator.give_up(end)
    return Run(account, report, coordinator, throttle)


def held(name: str = "main", holder: str = "pid 12 on host") -> Run:
    return Run(Account(name=name, login=name, phones=(Phone("8005550100"),)), RunReport(name), held_by=holder)


def seen(*runs: Run, now: float = NOW) -> View:
    return view_of(runs, now, EPOCH + now - NOW)


# The figures


def test_the_figures_are_sums_over_the_accounts() -> None:
    one = running("one", 7, 2, throttle=throttle_of(remaining=20), done=3)
    two = running("two", 4, 1, throttle=throttle_of(remaining=30), done=1, failed=1)
    one.report.rows = RowCounts(new=5, changed=1, unchanged=2, rejected=100, absent=100)

    view = seen(one, two)

    assert (view.done, view.failed, view.planned, view.requests, view.values) == (4, 1, 16, 4, 8)
    assert (view.quota_left, view.quota_limit, view.in_flight, view.working) == (50, 300, 3, 2)


def test_the_reserve_is_no_part_of_the_quota() -> None:
    view = seen(running(throttle=throttle_of(reserve=30), reserve=30))
    assert (view.quota_left, view.quota_limit) == (120, 120)


def test_the_quota_is_unknown_before_there_is_a_throttle() -> None:
    assert seen(running()).quota_left is None


def test_the_run_waits_when_its_throttle_does_and_nothing_is_in_flight() -> None:
    spent = throttle_of(remaining=0, resets_in=300, waiting=True)
    idle = running("main", 5, throttle=spent)
    assert seen(idle).until_reset == wait_of(idle)
    assert 300 <= wait_of(idle) < 310
    assert seen(running("main", 5, 1, throttle=spent)).until_reset is None


def test_a_wait_that_is_over_is_none() -> None:
    idle = running("main", 5, throttle=throttle_of(remaining=0, resets_in=300, waiting=True))
    assert seen(idle, now=NOW + wait_of(idle) - 1).until_reset is not None
    assert seen(idle, now=NOW + wait_of(idle) + 1).until_reset is None


def test_the_run_does_not_wait_while_one_account_works_or_when_the_waiting_one_has_ended() -> None:
    spent = throttle_of(remaining=0, waiting=True)
    assert seen(running("one", 5, throttle=spent), running("two", 5, 2, throttle=throttle_of())).until_reset is None
    assert seen(running("one", 5, throttle=spent, end=CredentialsRefused("no"))).until_reset is None


def test_of_several_waits_the_first_to_end_counts() -> None:
    later, sooner = (
        running(name, 1, throttle=throttle_of(remaining=0, resets_in=wait, waiting=True))
        for name, wait in (("one", 90), ("two", 60))
    )
    assert seen(later, sooner).until_reset == wait_of(sooner) < wait_of(later)


def test_the_eta_is_that_of_the_slowest_account() -> None:
    quick = running("one", 100, throttle=throttle_of())
    slow = running("two", 600, throttle=throttle_of())
    assert seen(quick).eta == 5
    assert seen(quick, slow).eta == 450 + 2 * 900 + 7.5


def test_slices_in_flight_need_no_more_time() -> None:
    assert seen(running("main", 8, 8, throttle=throttle_of(remaining=0))).eta == 0


def test_while_the_run_waits_the_wait_says_when_the_window_ends() -> None:
    far_ahead = throttle_of(remaining=0, resets_in=60, server_ahead=90_000, waiting=True)
    idle = running("main", 20, throttle=far_ahead)
    assert seen(idle).eta == wait_of(idle) + 1


@pytest.mark.parametrize("server_ahead", [-EPOCH + 100, 2.0**40])
def test_a_server_clock_far_away_makes_no_absurd_eta(server_ahead: float) -> None:
    eta = seen(running("main", 200, throttle=throttle_of(server_ahead=server_ahead))).eta
    assert eta is not None
    assert 0 <= eta <= WINDOW + 10


def test_there_is_no_eta_while_an_account_is_held_or_the_api_unreachable() -> None:
    unreachable = running("main", 5, throttle=throttle_of())
    assert seen(unreachable).eta is not None
    assert seen(unreachable, held("two")).eta is None
    assert unreachable.coordinator is not None
    unreachable.coordinator.breaker.trip(0.0)
    assert seen(unreachable).eta is None


def test_holders_are_named() -> None:
    view = seen(held())
    assert line(view) == "main is held by pid 12 on host; waiting"
    assert view.idle


def test_one_account_at_work_makes_the_run_busy() -> None:
    assert not seen(held("one"), running("two", 3, throttle=throttle_of())).idle


def test_an_interrupted_run_waits_for_its_answers() -> None:
    view = seen(running("main", 9, 2, throttle=throttle_of(), done=1, end=Interrupted()))
    assert line(view) == "1 of 10 slices; 1 request, 0 values; stopping, waiting for 2 answers"


# As text


VIEW = View(planned=480, done=120, requests=130, values=263_520, quota_left=20, quota_limit=150, eta=1935.0, working=1)


def test_a_line_holds_all_figures() -> None:
    assert line(VIEW) == (
        "120 of 480 slices; 130 requests, 263,520 values; quota 20 of 150 left, about 32 min 15 s to go"
    )


def test_a_line_of_a_wait_counts_down() -> None:
    waiting = replace(VIEW, until_reset=750.0, failed=2)
    assert line(waiting) == (
        "120 of 480 slices, 2 failed; 130 requests, 263,520 values;"
        " quota spent, continues in 12 min 30 s, about 32 min 15 s to go"
    )


def test_of_many_held_accounts_a_few_are_named() -> None:
    text = line(View(held=tuple((f"a{number}", "pid 1 on host") for number in range(50))))
    assert "a2 is held by pid 1 on host" in text
    assert text.endswith(", 47 more accounts held; waiting")


def test_before_a_plan_the_line_is_empty() -> None:
    assert not line(View())


# Lines, and how often


def printed(views: list[tuple[float, View]]) -> list[float]:
    """When lines are printed."""
    schedule = LineSchedule()
    return [now for now, view in views if schedule.due(view, now) is not None]


def every_second(view: View, first: int, last: int) -> list[tuple[float, View]]:
    return [(float(now), view) for now in range(first, last)]


def test_a_wait_for_an_account_is_printed_at_once() -> None:
    assert printed(every_second(View(held=(("main", "pid 1 on host"),)), 0, 3)) == [0]


def test_nothing_is_printed_before_there_is_a_plan() -> None:
    assert printed([*every_second(View(), 0, 7), *every_second(VIEW, 7, 9)]) == [7]


def test_work_is_printed_every_five_seconds() -> None:
    assert printed(every_second(VIEW, 0, 16)) == [0, 5, 10, 15]


def test_a_wait_is_printed_once_and_then_every_thirty_seconds_until_it_ends() -> None:
    waiting = replace(VIEW, until_reset=100.0)
    views = [*every_second(VIEW, 0, 7), *every_second(waiting, 7, 80), *every_second(VIEW, 80, 82)]
    assert printed(views) == [0, 5, 10, 40, 70, 80]


@given(st.lists(st.tuples(st.floats(0.05, 40), st.sampled_from([View(), VIEW, replace(VIEW, until_reset=9.0)]))))
def test_lines_never_come_faster_than_that(steps: list[tuple[float, View]]) -> None:
    schedule, now, printed_at = LineSchedule(), 0.0, -BUSY_SECONDS
    for pause, view in steps:
        now += pause
        if schedule.due(view, now) is not None:
            assert now - printed_at >= BUSY_SECONDS or printed_at < 0
            printed_at = now
    assert IDLE_SECONDS > BUSY_SECONDS


# On a stream


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ClosedByReader(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def write(self, _: str, /) -> int:
        raise self._error


@asynccontextmanager
async def displayed(stream: io.StringIO, clock: VirtualClock, quiet: bool, **environ: str) -> AsyncIterator[None]:  # noqa: FBT001 - a test's own helper
    busy = running("main", 9, 1, throttle=throttle_of(), done=1)
    async with display_for(stream, quiet=quiet, environ=environ, clock=clock)([busy]):
        yield


def watch(stream: io.StringIO, *, seconds: float = 11.0, quiet: bool = False, **environ: str) -> str:
    loop = VirtualLoop()
    clock = VirtualClock(loop)

    async def main() -> None:
        async with displayed(stream, clock, quiet, **environ):
            await asyncio.sleep(seconds)

    run_virtual(main(), loop)
    return stream.getvalue()


def test_off_a_terminal_only_lines_are_printed() -> None:
    text = watch(io.StringIO(), TERM="xterm")
    assert text.splitlines() == ["1 of 10 slices; 1 request, 0 values; quota 150 of 150 left, about 1 s to go"] * 3


def test_a_terminal_that_cannot_move_its_cursor_gets_lines() -> None:
    assert "\x1b" not in watch(Terminal(), TERM="dumb")
    assert "\x1b" not in watch(Terminal())


def test_a_terminal_gets_a_bar_that_goes_away_and_a_cursor_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = watch(Terminal(), TERM="xterm")
    assert "━" in text
    assert "1 of 10 slices" in text
    assert "quota 150 of 150 left" in text
    assert text.endswith("\x1b[2K")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_no_line_of_the_bar_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from harvester.console.progress.bar import draw

    monkeypatch.setenv("NO_COLOR", "1")
    long = replace(VIEW, held=(("other", "pid 123456 on a-host-with-a-long-name.example.com"),), failed=12)
    for width in (40, 60, 200):
        out = io.StringIO()
        Console(file=out, width=width, force_terminal=True).print(draw(long, min(width, 100)))
        assert all(
            len(row) <= width for row in out.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "").split("\n")
        )
        assert "120 of 480 slices, 12 failed" in out.getvalue()


def test_the_bar_has_no_colours_if_none_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    colour = re.compile(r"\x1b\[(3|9)[0-9][;m]")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colour.search(watch(Terminal(), TERM="xterm"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colour.search(watch(Terminal(), TERM="xterm"))


def test_text_on_stderr_appears_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, loop = Terminal(), VirtualLoop()
    monkeypatch.setattr(sys, "stderr", stream)

    async def main() -> None:
        async with displayed(stream, VirtualClock(loop), quiet=False, TERM="xterm"):
            await asyncio.sleep(1)
            sys.stderr.write("a log line\n")
            await asyncio.sleep(1)

    run_virtual(main(), loop)
    before, _, after = stream.getvalue().partition("a log line")
    assert before.endswith("\x1b[2K")  # the bar is removed first
    assert "1 of 10 slices" in after
    assert sys.stderr is stream


def test_quiet_is_silent() -> None:
    assert not watch(Terminal(), quiet=True, TERM="xterm")


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_a_closed_stream_does_not_stop_the_work(error: Exception) -> None:
    loop = VirtualLoop()

    async def main() -> str:
        async with displayed(ClosedByReader(error), VirtualClock(loop), quiet=False):
            await asyncio.sleep(20)
        return "done"

    assert run_virtual(main(), loop) == "done"


def test_an_error_of_the_run_is_raised() -> None:
    loop = VirtualLoop()

    async def main() -> None:
        async with displayed(io.StringIO(), VirtualClock(loop), quiet=False):
            await asyncio.sleep(1)
            raise Interrupted

    with pytest.raises(Interrupted):
        run_virtual(main(), loop)
