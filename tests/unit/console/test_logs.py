from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from harvester.config import Log
from harvester.console import logs
from harvester.core.model import RowCounts, Series, Slice
from harvester.core.period import Period
from harvester.events import Event

PIECE = Slice(Series("main", "performance", "ALL", Period.DAY), date(2024, 1, 1), date(2024, 1, 31))


@dataclass
class Heard:
    """An observer that remembers."""

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


def test_details_are_told_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose, quiet, shown in (
        (0, 0, ["round", "paused"]),
        (0, 1, ["paused"]),
        (1, 0, ["answered", "round", "paused"]),
    ):
        logs.set_up(Log(), verbose=verbose, quiet=quiet)
        emit = logs.observer()
        for event in (Event.ANSWERED, Event.ROUND, Event.PAUSED):
            emit(event, account="main")
        assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == shown


def test_a_traceback_shows_no_local_variable(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_the_same_trouble_is_told_once_a_minute() -> None:
    heard, now = Heard(), [0.0]
    seldom = logs.RateLimitedLogger(heard, now=lambda: now[0])
    for second in range(130):
        now[0] = float(second)
        seldom(Event.UNREACHABLE, account="main")
        seldom(Event.UNREACHABLE, account="other")
    mine = [facts for event, facts in heard.events if facts["account"] == "main"]
    assert len(mine) == 3
    assert mine[1]["like_it_before"] == 59


@pytest.mark.parametrize("event", [Event.ROUND, Event.RELOAD_FAILED, Event.RESTART_NEEDED])
def test_what_is_no_trouble_or_answers_somebody_is_always_told(event: Event) -> None:
    heard = Heard()
    seldom = logs.RateLimitedLogger(heard, now=lambda: 0.0)
    for _ in range(3):
        seldom(event, account="main")
    assert len(heard.events) == 3
