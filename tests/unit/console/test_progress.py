from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Account, Phone, Quota
from harvester.console.progress import View, display_for, line, look
from harvester.console.progress.lines import BUSY, IDLE, Lines
from harvester.console.text import duration
from harvester.core.breaker import Breaker
from harvester.core.model import RowCounts, RunReport, SliceCounts
from harvester.core.quota import Snapshot
from harvester.errors import CredentialsRefused, HarvesterError, Interrupted
from tests.support.virtual import VirtualClock, VirtualLoop, run_virtual

NOW, EPOCH = 1_000.0, 1_700_000_100.0


@dataclass
class FakeJudge:
    outstanding: int = 0
    in_flight: int = 0
    end: HarvesterError | None = None
    breaker: Breaker = field(default_factory=Breaker)


@dataclass
class FakeThrottle:
    waiting_until: float | None = None
    limit: int = 150
    remaining: int = 150
    resets_at: int = int(EPOCH) + 450

    def snapshot(self) -> Snapshot:
        return Snapshot(self.limit, self.remaining, self.resets_at)


@dataclass
class FakeHarvest:
    account: Account
    report: RunReport
    coordinator: FakeJudge | None = None
    throttle: FakeThrottle | None = None
    held_by: str | None = None


def harvest(
    name: str = "main",
    coordinator: FakeJudge | None = None,
    throttle: FakeThrottle | None = None,
    *,
    reserve: int = 0,
    held_by: str | None = None,
    planned: int = 0,
    done: int = 0,
) -> FakeHarvest:
    account = Account(name=name, login=name, phones=(Phone("8005550100"),), quota=Quota(reserve=reserve))
    report = RunReport(name, requests=done, slices=SliceCounts(planned=planned, done=done))
    return FakeHarvest(account, report, coordinator, throttle, held_by)


def seen(*runs: FakeHarvest) -> View:
    return look(cast("Any", runs), NOW, EPOCH)


# What is seen


def test_the_figures_are_sums_over_the_accounts() -> None:
    one = harvest("one", FakeJudge(7, 2), FakeThrottle(remaining=20), planned=10, done=3)
    two = harvest("two", FakeJudge(4, 1), FakeThrottle(remaining=30), planned=5, done=1)
    one.report.rows = RowCounts(new=5, changed=1, unchanged=2, rejected=100, absent=100)
    two.report.slices.failed = 1

    view = seen(one, two)

    assert (view.done, view.failed, view.planned, view.requests, view.values) == (4, 1, 15, 4, 8)
    assert (view.quota_left, view.quota_limit, view.in_flight, view.working) == (50, 300, 3, 2)


def test_what_is_reserved_for_others_is_no_part_of_the_quota() -> None:
    view = seen(harvest(throttle=FakeThrottle(remaining=150), reserve=30))
    assert (view.quota_left, view.quota_limit) == (120, 120)


def test_before_anything_was_sent_nothing_is_said_of_the_quota() -> None:
    assert seen(harvest()).quota_left is None


def test_it_waits_when_the_throttle_does_and_nothing_is_in_flight() -> None:
    throttle = FakeThrottle(waiting_until=NOW + 300, remaining=0)
    assert seen(harvest("main", FakeJudge(5, 0), throttle)).until_reset == 300
    assert seen(harvest("main", FakeJudge(5, 1), throttle)).until_reset is None


def test_a_wait_that_is_over_is_none() -> None:
    throttle = FakeThrottle(waiting_until=NOW - 1, remaining=0)
    assert seen(harvest("main", FakeJudge(5, 0), throttle)).until_reset is None


def test_it_does_not_wait_while_one_account_works_or_when_the_waiting_one_has_ended() -> None:
    waiting = harvest("one", FakeJudge(5, 0), FakeThrottle(waiting_until=NOW + 300))
    working = harvest("two", FakeJudge(5, 2), FakeThrottle())
    assert seen(waiting, working).until_reset is None
    ended = harvest("one", FakeJudge(5, 0, end=CredentialsRefused("no")), FakeThrottle(waiting_until=NOW + 300))
    assert seen(ended).until_reset is None


def test_of_several_waits_the_first_to_end_counts() -> None:
    views = [harvest(name, FakeJudge(1, 0), FakeThrottle(NOW + wait)) for name, wait in (("one", 90), ("two", 60))]
    assert seen(*views).until_reset == 60


def test_the_time_to_go_is_that_of_the_slowest_account() -> None:
    quick = harvest("one", FakeJudge(100, 0), FakeThrottle())
    slow = harvest("two", FakeJudge(600, 0), FakeThrottle())
    assert seen(quick).to_go == 5
    assert seen(quick, slow).to_go == 450 + 2 * 900 + 7.5


def test_what_is_in_flight_is_sent_already() -> None:
    assert seen(harvest("main", FakeJudge(8, 8), FakeThrottle(remaining=0))).to_go == 0


def test_while_it_waits_the_wait_says_when_the_window_ends() -> None:
    far_ahead = FakeThrottle(waiting_until=NOW + 60, remaining=0, resets_at=int(EPOCH) + 90_000)
    assert seen(harvest("main", FakeJudge(20, 0), far_ahead)).to_go == 61


def test_a_server_clock_far_away_makes_no_absurd_forecast() -> None:
    for resets_at in (0, 2**40):
        to_go = seen(harvest("main", FakeJudge(200, 0), FakeThrottle(resets_at=resets_at))).to_go
        assert to_go is not None
        assert 0 <= to_go <= 900 + 10


def test_nobody_knows_the_end_while_an_account_is_held_or_the_api_is_silent() -> None:
    held = harvest("two", held_by="pid 12 on host")
    silent = harvest("main", FakeJudge(5, 0), FakeThrottle())
    assert seen(silent).to_go is not None
    assert seen(silent, held).to_go is None
    assert silent.coordinator is not None
    silent.coordinator.breaker.trip()
    assert seen(silent).to_go is None


def test_holders_are_named() -> None:
    view = seen(harvest(held_by="pid 12 on host"))
    assert line(view) == "main is held by pid 12 on host; waiting"
    assert view.idle


def test_an_account_that_works_makes_the_whole_busy() -> None:
    assert not seen(harvest("one", held_by="pid 12 on host"), harvest("two", FakeJudge(3, 0), FakeThrottle())).idle


def test_an_interrupt_shows() -> None:
    view = seen(harvest("main", FakeJudge(9, 2, end=Interrupted()), FakeThrottle(), planned=10, done=1))
    assert line(view) == "1 of 10 slices; 1 request, 0 values; stopping, 2 answers to come"


# In words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.2, "1 s"), (59.1, "1 min"), (750, "12 min 30 s"), (3600, "1 h"),
        (19_230, "5 h 20 min"), (86_400, "1 d"), (300_000, "3 d 11 h"), (-5, "0 s"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 10**8))
def test_a_duration_is_short(seconds: float) -> None:
    assert len(duration(seconds).split()) in {2, 4}


VIEW = View(
    planned=480, done=120, requests=130, values=263_520, quota_left=20, quota_limit=150, to_go=1935.0, working=1
)


def test_a_line_says_it_all() -> None:
    assert line(VIEW) == (
        "120 of 480 slices; 130 requests, 263,520 values; quota 20 of 150 left, about 32 min 15 s to go"
    )


def test_a_line_of_a_wait_counts_down() -> None:
    waiting = replace(VIEW, until_reset=750.0, failed=2)
    assert line(waiting) == (
        "120 of 480 slices, 2 failed; 130 requests, 263,520 values;"
        " quota spent, goes on in 12 min 30 s, about 32 min 15 s to go"
    )


def test_of_many_held_accounts_a_few_are_named() -> None:
    held = tuple((f"a{number}", "pid 1 on host") for number in range(50))
    text = line(View(held=held))
    assert "a2 is held by pid 1 on host" in text
    assert text.endswith("47 more are held; waiting")


def test_nothing_to_say_is_an_empty_line() -> None:
    assert not line(View())


# Lines, and how often


def said(lines: Lines, views: list[tuple[float, View]]) -> list[float]:
    return [now for now, view in views if lines.due(view, now) is not None]


def every_second(view: View, first: int, last: int) -> list[tuple[float, View]]:
    return [(float(now), view) for now in range(first, last)]


def test_a_wait_for_an_account_is_told_at_once() -> None:
    assert said(Lines(), every_second(View(held=(("main", "pid 1 on host"),)), 0, 3)) == [0]


def test_nothing_is_said_before_there_is_something_to_say() -> None:
    assert said(Lines(), [*every_second(View(), 0, 7), *every_second(VIEW, 7, 9)]) == [7]


def test_work_is_told_every_five_seconds() -> None:
    assert said(Lines(), every_second(VIEW, 0, 16)) == [0, 5, 10, 15]


def test_a_wait_is_told_once_and_then_every_thirty_seconds_until_it_ends() -> None:
    waiting = replace(VIEW, until_reset=100.0)
    views = [*every_second(VIEW, 0, 7), *every_second(waiting, 7, 80), *every_second(VIEW, 80, 82)]
    assert said(Lines(), views) == [0, 5, 10, 40, 70, 80]


@given(st.lists(st.tuples(st.floats(0.05, 40), st.sampled_from([View(), VIEW, replace(VIEW, until_reset=9.0)]))))
def test_lines_never_come_faster_than_that(steps: list[tuple[float, View]]) -> None:
    lines, now, logged = Lines(), 0.0, -BUSY
    for pause, view in steps:
        now += pause
        if lines.due(view, now) is not None:
            assert now - logged >= BUSY or logged < 0
            logged = now
    assert IDLE > BUSY


# On a stream


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def write(self, _: str, /) -> int:
        raise self._error


@asynccontextmanager
async def shown(stream: io.StringIO, clock: VirtualClock, quiet: bool, **environ: str) -> AsyncIterator[None]:  # noqa: FBT001 - a test's own helper
    busy = harvest("main", FakeJudge(9, 1), FakeThrottle(), planned=10, done=1)
    async with display_for(stream, quiet=quiet, environ=environ, clock=clock)([cast("Any", busy)]):
        yield


def watch(stream: io.StringIO, *, seconds: float = 11.0, quiet: bool = False, **environ: str) -> str:
    loop = VirtualLoop()
    clock = VirtualClock(loop)

    async def main() -> None:
        async with shown(stream, clock, quiet, **environ):
            await asyncio.sleep(seconds)

    run_virtual(main(), loop)
    return stream.getvalue()


def test_off_a_terminal_lines_come_and_nothing_else() -> None:
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


def test_what_is_written_to_stderr_meanwhile_stands_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, loop = Terminal(), VirtualLoop()
    monkeypatch.setattr(sys, "stderr", stream)

    async def main() -> None:
        async with shown(stream, VirtualClock(loop), quiet=False, TERM="xterm"):
            await asyncio.sleep(1)
            sys.stderr.write("a log line\n")
            await asyncio.sleep(1)

    run_virtual(main(), loop)
    before, _, after = stream.getvalue().partition("a log line")
    assert before.endswith("\x1b[2K")  # the bar was taken away first
    assert "1 of 10 slices" in after
    assert sys.stderr is stream


def test_quiet_is_silent() -> None:
    assert not watch(Terminal(), quiet=True, TERM="xterm")


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_a_reader_that_went_away_stops_nothing(error: Exception) -> None:
    loop = VirtualLoop()

    async def main() -> str:
        async with shown(Gone(error), VirtualClock(loop), quiet=False):
            await asyncio.sleep(20)
        return "done"

    assert run_virtual(main(), loop) == "done"


def test_an_error_of_the_harvest_comes_through() -> None:
    loop = VirtualLoop()

    async def main() -> None:
        async with shown(io.StringIO(), VirtualClock(loop), quiet=False):
            await asyncio.sleep(1)
            raise Interrupted

    with pytest.raises(Interrupted):
        run_virtual(main(), loop)
