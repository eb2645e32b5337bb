"""Absent periods through the whole runner: not final before a second answer, and an edge is asked for alone at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pytest

from harvester.core.coverage import Span
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.request import Exchange
from harvester.simulator.world import Beyond, World
from tests.support.databases import query
from tests.support.rig import Desired, Rig

A_DAY = 86_400.0
A_YEAR = Desired(phones=("8005550001",), first=date(2023, 1, 1), last=date(2023, 12, 31))

Selection = Callable[[Sequence[int]], Sequence[int]]  # of the periods of an answer, in order


class SelectiveApi(SimulatedApi):
    """The simulated API, but its answers hold only a selection of their periods."""

    select: Selection = staticmethod(lambda periods: periods)

    def _figures(self, exchange: Exchange, account: Account | None, at: float) -> bytes:
        figures = json.loads(super()._figures(exchange, account, at))
        periods = sorted({int(text) for values in figures.values() for text in values})
        chosen = set(map(str, self.select(periods)))
        selected = {
            name: {text: number for text, number in values.items() if text in chosen}
            for name, values in figures.items()
        }
        return json.dumps(selected).encode()


def selective(path: Path, desired: Desired, select: Selection, account: Account | None = None) -> Rig:
    rig = Rig(path / "store.db", desired, Options(latency=0.02), account)
    rig.api = rig.wire.api = api = SelectiveApi([rig.account], rig.api.options)
    api.select = select
    return rig


def restore(rig: Rig) -> None:
    assert isinstance(rig.api, SelectiveApi)
    rig.api.select = lambda periods: periods


def unconfirmed(rig: Rig) -> list[tuple[str, str, int]]:
    return query(rig.url, "SELECT first_day, last_day, width FROM unconfirmed_absence ORDER BY series_id, first_day")


@pytest.mark.parametrize("newest", [True, False])
def test_a_silent_cap_is_found_in_the_same_run_and_learnt_as_a_width(tmp_path: Path, *, newest: bool) -> None:
    rig = selective(tmp_path, A_YEAR, lambda periods: periods[-100:] if newest else periods[:100])
    process = rig.run()
    assert rig.rows() == rig.truth()
    assert process.report.requests == 4, "365 days, their edge of 265, and the last 165 cut to the width"
    assert process.report.slices.planned == process.report.slices.done == 4
    assert process.limit_tracker is not None
    assert process.limit_tracker.limits.accepted == 100
    assert unconfirmed(rig) == []
    assert rig.run().report.requests == 0
    rig.desired = Desired(phones=("8005550002",), first=A_YEAR.first, last=A_YEAR.last)
    assert rig.run().report.requests == 4, "the learnt width"
    assert rig.rows().items() >= rig.truth().items()


@pytest.mark.parametrize(
    ("select", "lacking"),
    [
        (lambda _: [], Span(date(2023, 1, 1), date(2023, 12, 31))),
        (lambda periods: [*periods[:90], *periods[120:]], Span(date(2023, 4, 1), date(2023, 4, 30))),
    ],
    ids=["empty", "a month"],
)
def test_what_was_absent_once_is_asked_for_again_on_a_later_day(
    tmp_path: Path, select: Selection, lacking: Span
) -> None:
    rig = selective(tmp_path, A_YEAR, select)
    assert rig.run().report.requests == 1
    assert unconfirmed(rig) == [(str(lacking.first), str(lacking.last), 365)]
    assert rig.run().report.requests == 0, "the same command right away"
    restore(rig)
    rig.wait(A_DAY)
    assert 1 <= rig.run().report.requests <= 2
    assert rig.rows() == rig.truth()
    assert unconfirmed(rig) == []
    rig.wait(A_DAY)
    assert rig.run().report.requests == 0


def test_an_edge_that_is_there_when_asked_for_alone_costs_one_request(tmp_path: Path) -> None:
    missing = iter([31])
    rig = selective(tmp_path, A_YEAR, lambda periods: periods[next(missing, 0) :])
    assert rig.run().report.requests == 2
    assert rig.rows() == rig.truth()
    assert unconfirmed(rig) == []


def test_the_years_before_an_account_are_confirmed_by_one_more_request_a_slice(tmp_path: Path) -> None:
    ten_years = Desired(phones=("8005550001",), first=date(2014, 1, 1), last=date(2023, 12, 31))
    world = World(first_day=date(2023, 7, 1), before=Beyond.ABSENT)
    rig = Rig(tmp_path / "store.db", ten_years, Options(latency=0.02), Account(world=world))
    assert rig.run().report.requests == 10 + 1, "and the edge of the newest slice, alone"
    assert rig.run().report.requests == 0
    rig.wait(A_DAY)
    assert rig.run().report.requests == 10
    assert unconfirmed(rig) == []
    rig.wait(A_DAY)
    process = rig.run()
    assert process.report.requests == 0
    assert rig.rows() == rig.truth()


def test_a_period_that_is_absent_each_day_is_asked_for_alone_once(tmp_path: Path) -> None:
    yesterday = Desired(phones=("8005550001",), first=date(2024, 8, 27), last=date(2024, 8, 30))
    rig = selective(tmp_path, yesterday, lambda periods: [p for p in periods if p < 1_724_900_000])  # up to the 28th
    assert rig.run().report.requests == 2
    assert rig.run().report.requests == 1, "the range is not final, its edge is known"
