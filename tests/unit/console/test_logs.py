from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pytest

from harvester.config import Log
from harvester.console import logs
from harvester.core.model import RowCounts, Series, Slice
from harvester.core.period import Period
from harvester.events import Event

PIECE = Slice(Series("main", "performance", "ALL", Period.DAY), date(2024, 1, 1), date(2024, 1, 31))


@dataclass
class Recorder:
    """An observer that collects the events."""

    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def __call__(self, event: str, /, **facts: object) -> None:
        self.events.append((event, facts))


def test_off_a_terminal_each_event_is_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(Log(), verbose=1, quiet=0)
    logs.observer()(
        Event.COMMITTED, account="main", slice=PIECE, rows=RowCounts(new=3), resources=frozenset({"volume"})
    )
    logged = json.loads(capsys.readouterr().err)
    assert logged["event"] == "committed"
    assert logged["level"] == "debug"
    assert logged["slice"] == str(PIECE)
    assert logged["rows"]["new"] == 3
    assert logged["resources"] == ["volume"]


def test_verbose_and_quiet_shift_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose, quiet, logged in (
        (0, 0, ["round", "paused"]),
        (0, 1, ["paused"]),
        (1, 0, ["answered", "round", "paused"]),
    ):
        logs.set_up(Log(), verbose=verbose, quiet=quiet)
        emit = logs.observer()
        for event in (Event.ANSWERED, Event.ROUND, Event.PAUSED):
            emit(event, account="main")
        assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == logged


def test_a_traceback_holds_no_local_variable(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(Log(format="console"), verbose=0, quiet=0)
    password = "canary-in-a-local"

    def fail() -> None:
        raise KeyError(len(password))

    try:
        fail()
    except KeyError as error:
        logs.observer()(Event.BUG, account="main", error=error)
    logged = capsys.readouterr().err
    assert "KeyError" in logged
    assert password not in logged.replace('password = "canary-in-a-local"', "")


def test_in_the_journal_each_line_has_its_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "stderr").open("w+", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        logs.set_up(Log(), verbose=0, quiet=0)
        emit = logs.observer()
        emit(Event.ROUND, account="main")
        emit(Event.PAUSED, account="main")
        stream.seek(0)
        assert [line[:4] for line in stream.read().splitlines()] == ["<6>{", "<4>{"]
    assert not logs.in_journal({"JOURNAL_STREAM": "1:2"})


def test_a_console_line_carries_its_zone(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(Log(format="console"), verbose=0, quiet=0)
    logs.observer()(Event.ROUND, account="main")
    assert re.search(r"\d\d:\d\d:\d\d[+-]\d{4} ", capsys.readouterr().err)


class Limited:
    """A rate-limited logger, its clock and its output."""

    def __init__(self) -> None:
        self.now = 0.0
        self.recorder = Recorder()
        self.logger = logs.RateLimitedLogger(self.recorder, now=lambda: self.now)

    def fail(self, piece: Slice, account: str = "main") -> None:
        self.logger(Event.FAILED, account=account, slice=piece, error="500: Unknown error.")

    @property
    def facts(self) -> list[dict[str, object]]:
        return [facts for _, facts in self.recorder.events]


def slices(count: int) -> list[Slice]:
    days = [date(2000, 1, 1) + timedelta(days=number) for number in range(count)]
    return [Slice(PIECE.series, day, day) for day in days]


def test_the_same_problem_is_logged_once_a_minute() -> None:
    limited = Limited()
    for second in range(130):
        limited.now = float(second)
        limited.logger(Event.UNREACHABLE, account="main")
        limited.logger(Event.UNREACHABLE, account="other")
    main = [facts for facts in limited.facts if facts["account"] == "main"]
    assert [facts.get("suppressed") for facts in main] == [None, 59, 59]


def test_each_failed_slice_is_logged_and_its_repetitions_are_counted() -> None:
    limited = Limited()
    first, second, third = slices(3)
    for piece in (first, second, third, first, first):
        limited.fail(piece)
        limited.now += 1.0
    assert [facts["slice"] for facts in limited.facts] == [first, second, third]
    assert not any("suppressed" in facts for facts in limited.facts)
    limited.now = 60.0
    for piece in (second, first):
        limited.fail(piece)
    assert [(facts["slice"], facts.get("suppressed")) for facts in limited.facts[3:]] == [(first, 2)]


def test_two_accounts_and_two_types_of_errors_are_different_problems() -> None:
    limited = Limited()
    for account in ("main", "other"):
        for error in (KeyError("a"), ValueError("b"), KeyError("c")):
            limited.logger(Event.BUG, account=account, error=error)
    assert [(facts["account"], type(facts["error"])) for facts in limited.facts] == [
        ("main", KeyError),
        ("main", ValueError),
        ("other", KeyError),
        ("other", ValueError),
    ]


def test_a_problem_is_forgotten_an_hour_after_its_last_line() -> None:
    limited = Limited()
    forgotten, repeated = slices(2)
    for piece in (forgotten, forgotten, repeated, repeated):
        limited.fail(piece)
    limited.now = logs.FORGET_SECONDS - 1
    limited.fail(repeated)
    limited.now = logs.FORGET_SECONDS
    limited.fail(forgotten)
    assert [facts.get("suppressed") for facts in limited.facts] == [None, None, 1, None]


def test_the_number_of_problems_in_memory_is_bounded() -> None:
    limited = Limited()
    oldest, *others = slices(logs.MAX_PROBLEMS + 1)
    for piece in (oldest, *others):
        limited.fail(piece)
    before = len(limited.facts)
    limited.fail(others[-1])
    assert len(limited.facts) == before
    limited.fail(oldest)
    assert len(limited.facts) == before + 1


@pytest.mark.parametrize("event", [Event.ROUND, Event.RELOAD_FAILED, Event.RESTART_NEEDED])
def test_information_and_responses_to_a_signal_are_always_logged(event: Event) -> None:
    limited = Limited()
    for _ in range(3):
        limited.logger(event, account="main")
    assert len(limited.facts) == 3
