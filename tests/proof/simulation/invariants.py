"""What must hold at any moment of a scenario, and at its end: I1 to I8, each told by means of its own.

The truth is the simulated world's, what was asked and when is the simulated server's journal, and what is stored is
read past the store: none of it takes the harvester's word.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from harvester.core.model import Series
from harvester.core.period import Period
from harvester.daemon.account_state import Phase
from harvester.reports import status
from harvester.simulator.faults import Fault
from harvester.simulator.options import AUTH
from harvester.simulator.world import FORMULAS, World
from harvester.store.reader import Reader
from tests.proof.simulation.world_of_faults import CANARY, DAY, WINDOW, What
from tests.support.databases import query

if TYPE_CHECKING:
    from harvester.reports.status import SeriesReport
    from tests.proof.simulation.daemon_sim import Simulation

_ROWS = """
SELECT account, resource, phone, period, local_date, metric, value, complete, final FROM metric_values"""
_COVERAGE = """
SELECT a.name, s.resource, s.phone, s.period, c.first_day, c.last_day
FROM coverage c JOIN series s ON s.id = c.series_id JOIN account a ON a.id = s.account_id"""
_FAILED = """
SELECT a.name, s.resource, s.phone, s.period, f.first_day, f.last_day, f.error
FROM failed_slice f JOIN series s ON s.id = f.series_id JOIN account a ON a.id = s.account_id"""
_REVISIONS = """
SELECT a.name, s.resource, s.phone, s.period, r.day, m.name, r.old_value, r.new_value
FROM revision r JOIN series s ON s.id = r.series_id JOIN account a ON a.id = s.account_id
JOIN metric m ON m.id = r.metric_id ORDER BY r.id"""
_NO_ANSWER = frozenset(
    {Fault.JUNK, Fault.HTML, Fault.BAD_GATEWAY, Fault.UNAVAILABLE, Fault.CUT, Fault.CUT_CHUNKED, Fault.DROP}
    | {Fault.DROP_BODY}
)

Key = tuple[Series, date, str]  # series, first day of the period, metric


class Cell(NamedTuple):
    """A stored value."""

    value: float | None
    complete: int  # 1 or 0, as SQLite has it
    final: int


@dataclass(frozen=True)
class Answer:
    """An answer that the server gave to a range."""

    at: float  # its clock
    first: date
    last: date


def check(simulation: Simulation, moment: str) -> None:
    """Raise AssertionError where something does not hold."""
    cells = _cells(simulation)
    answers = _answers(simulation)
    _whole(simulation, cells)
    _given(simulation, cells, answers)
    _kept(simulation, cells)
    _thrifty(simulation)
    _honest(simulation, cells)
    if moment != "underway":
        _recovered(simulation, cells, answers)
    if moment == "ended":
        _discreet(simulation)


# I3 is here: a value that is stored twice


def _cells(simulation: Simulation) -> dict[Key, Cell]:
    rows = query(simulation.url, _ROWS)
    found = {
        (_series_of(account, resource, phone, period), _date(day), metric): Cell(value, complete, final)
        for account, resource, phone, period, day, metric, value, complete, final in rows
    }
    assert len(found) == len(rows), "a value is stored twice (I3)"
    return found


_date = lru_cache(maxsize=4096)(date.fromisoformat)


@lru_cache(maxsize=1024)
def _series_of(account: str, resource: str, phone: str, period: str) -> Series:
    return Series(account, resource, phone, Period(period))


def _series(row: tuple[Any, ...]) -> Series:
    return _series_of(*row[:4])


def _answers(simulation: Simulation) -> dict[Series, list[Answer]]:
    """The whole answers that the server gave, oldest first."""
    found: dict[Series, list[Answer]] = simulation.memory.setdefault("answers", defaultdict(list))
    journal = simulation.api.journal
    for _ in range(len(journal)):
        visit = journal.popleft()
        if visit.path == AUTH:
            continue
        window = int(visit.at // WINDOW) * WINDOW
        if visit.status == 429 and visit.fault is Fault.THROTTLE:
            simulation.memory.setdefault("spurious", Counter())[visit.account, window] += 1
        if visit.status == 200 and visit.fault not in _NO_ANSWER:
            resource, first, last, period, phone = visit.path.lstrip("/").split("/")
            series = Series(visit.account, resource, phone, Period(period))
            found[series].append(Answer(visit.at, _day(first), _day(last)))
    return found


def _day(digits: str) -> date:
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


def _world(simulation: Simulation, account: str) -> World:
    return simulation.api.accounts[account].world


# I1


def _whole(simulation: Simulation, cells: Mapping[Key, Cell]) -> None:
    """What is called done has all its rows, and each day is covered once."""
    calendar = simulation.scenario.calendar
    seen: set[tuple[Series, date]] = set()
    for row in query(simulation.url, _COVERAGE):
        series, first, last = _series(row), _date(row[4]), _date(row[5])
        for day in calendar.starts(series.period, first, last):
            assert (series, day) not in seen, f"{series} {day} is covered twice (I1)"
            seen.add((series, day))
    stored = Counter((series, day) for series, day, _ in cells)
    for series, day in seen:
        held = stored[series, day]
        assert held == len(FORMULAS[series.resource]), f"{series} {day} holds {held} figures (I1)"
    assert stored.keys() <= seen, f"{next(iter(stored.keys() - seen))} is stored and not covered (I1)"


# I2


def _given(simulation: Simulation, cells: Mapping[Key, Cell], answers: Mapping[Series, list[Answer]]) -> None:
    """Every value is one that the server gave for it; a final one was given when it had settled."""
    good: set[tuple[Key, Cell]] = simulation.memory.setdefault("good", set())
    by_period: dict[tuple[Series, date], list[tuple[Key, Cell]]] = defaultdict(list)
    for key, cell in cells.items() - good:
        by_period[key[:2]].append((key, cell))
    ((settle_days,),) = query(simulation.url, "SELECT min(settle_days) FROM account") or [(0,)]
    for (series, day), wanted in by_period.items():
        calendar = simulation.scenario.calendar
        end = calendar.following(series.period, day)
        left = wanted
        for answer in reversed(answers[series]):
            if not answer.first <= day <= answer.last:
                continue
            asked_on = calendar.local_date(answer.at)
            figures = _told(simulation, series, day, answer)
            left = [
                (key, cell)
                for key, cell in left
                if cell.value != figures[key[2]]
                or (cell.complete and asked_on < end)
                or (cell.final and (asked_on - end).days < settle_days)
            ]
            if not left:
                break
        assert not left, f"{left[0]} is not what the server ever said (I2)"
        good.update(wanted)


def _told(simulation: Simulation, series: Series, day: date, answer: Answer) -> dict[str, float]:
    """What an answer said of a period."""
    calendar = simulation.scenario.calendar
    last = min(answer.last, calendar.following(series.period, day) - timedelta(days=1))
    figures = _world(simulation, series.account).truth(
        series.resource, series.phone, series.period, day, last, answer.at
    )
    return {metric: float(next(iter(values.values()))) for metric, values in figures.items()}


# I8


def _kept(simulation: Simulation, cells: dict[Key, Cell]) -> None:
    """Nothing stored before has gone; a complete value that is another one now has a revision for it."""
    before: dict[Key, Cell] = simulation.memory.get("cells", {})
    known: int = simulation.memory.get("revisions", 0)
    rows = query(simulation.url, _REVISIONS)
    revisions: dict[Key, list[tuple[float, float]]] = defaultdict(list)
    for row in rows[known:]:
        revisions[_series(row), _date(row[4]), row[5]].append((row[6], row[7]))
    steps = simulation.scenario.steps_server
    for key, old in before.items() - cells.items():
        assert key in cells, f"{key} has gone (I8)"
        new = cells[key]
        if old.complete and new.value != old.value:
            chain = revisions.get(key)
            assert chain, f"{key} was {old}, is {new}, and nobody wrote it down (I8)"
            assert chain[0][0] == old.value, f"{key} was {old.value}, not {chain[0][0]} (I8)"
            assert steps or chain[-1][1] == new.value, f"{key} is {new.value}, not {chain[-1][1]} (I8)"
        assert new.complete or not old.complete or steps, f"{key} is no more complete (I8)"
    for key, chain in revisions.items():
        assert all(old != new for old, new in chain), f"{key}: a revision that changes nothing (I8)"
    simulation.memory["cells"] = cells
    simulation.memory["revisions"] = len(rows)


# I4


def _thrifty(simulation: Simulation) -> None:
    """No window of the server counts more of ours than we may send, and none of ours is refused without need.

    Around a step of a clock nobody can know what a window has counted: there the server's own limit must do.
    """
    scenario, api = simulation.scenario, simulation.api
    spurious: Counter[tuple[str, int]] = simulation.memory.get("spurious", Counter())
    unknowable = _unknowable(simulation)
    for account in scenario.accounts:
        allowed = max(1, scenario.options.limit - scenario.reserve)
        for start, window in api.quota(account.name).windows.items():
            assert window.sent <= scenario.options.limit, f"{account.name}: {window} (I4)"
            if start not in unknowable:
                refused = window.refused - spurious[account.name, start]
                assert window.sent <= allowed, f"{account.name}: {window} of {allowed} (I4)"
                assert window.neighbour or not refused, f"{account.name}: {window} got {refused} 429 (I4)"
        for start, window in api.auth_quota(account.login).windows.items():
            assert window.sent <= scenario.options.auth_limit, f"{account.name}: /auth {window} (I4)"
            assert start in unknowable or not window.refused, f"{account.name}: /auth {window} got 429 (I4)"


def _unknowable(simulation: Simulation) -> set[int]:
    """The windows of the server that hold a step of its clock or of ours, or lie beside one."""
    scenario, api = simulation.scenario, simulation.api
    steps = [moment for moment, _ in scenario.options.clock_steps]
    steps += [scenario.start + one.at for one in scenario.happenings if one.what is What.HOST_CLOCK]
    moments = [api.server_time(moment + beside) for moment in steps for beside in (-1, 0, 1)]
    return {int(at // WINDOW + beside) * WINDOW for at in moments for beside in (-1, 0, 1, 2)}


# I7


def _honest(simulation: Simulation, cells: Mapping[Key, Cell]) -> None:
    """`status` says what the table holds."""
    now = simulation.universe.host.time()
    with Reader(simulation.url) as reader:
        report = status.build(
            reader.accounts(), status.configured_accounts(simulation.settings), now, reader.schema_version
        )
    days: dict[Series, dict[date, bool]] = defaultdict(dict)  # of each period stored: whether it is complete
    for (series, day, _), cell in cells.items():
        days[series][day] = bool(cell.complete)
    failed = Counter(_series(row) for row in query(simulation.url, _FAILED))
    for account in report.accounts:
        for one in account.series:
            _one_honest(simulation, one, days[one.series], now)
            assert len(one.failed) == failed[one.series], f"status of {one.series}: {one.failed} (I7)"
        _state_honest(simulation, account)


def _one_honest(simulation: Simulation, one: SeriesReport, days: Mapping[date, bool], now: float) -> None:
    """A period that is missing is in a gap; so may be the end of one that was asked for before its end."""
    calendar, period = simulation.scenario.calendar, one.series.period
    today = calendar.local_date(now)
    begin = min([calendar.floor(period, simulation.wishes.first), *days])
    expected = [day for day in calendar.starts(period, begin, today) if calendar.following(period, day) <= today]
    missing = {day for day in expected if day not in days}
    reported = {calendar.floor(period, day) for gap in one.gaps for day in calendar.starts(Period.DAY, *gap)}
    assert missing <= reported, f"status of {one.series} leaves out {missing - reported} (I7)"
    wrong = {day for day in reported - missing if days.get(day, True)}
    assert not wrong, f"status of {one.series}: {wrong} are no gaps (I7)"
    assert (one.first, one.last) == ((min(days), max(days)) if days else (None, None)), f"{one} (I7)"
    assert one.lacks_latest == bool(expected and expected[-1] in reported), f"status of {one.series}: {one} (I7)"


def _state_honest(simulation: Simulation, account: status.AccountReport) -> None:
    workers = [
        daemon.workers[account.name]
        for daemon in simulation.daemons
        if not daemon.over.is_set() and account.name in daemon.workers
    ]
    phases = {worker.state.phase for worker in workers}
    if phases & {Phase.IDLE} and not phases & {Phase.WORKING, Phase.NO_DATABASE} and not simulation.universe.trouble:
        assert account.state.value != "paused", f"{account.state}, {account.reason} (I7)"
    clean = not simulation.scenario.steps_server and not simulation.scenario.steps_host
    if clean and account.quota.resets_at is not None and account.quota.remaining is not None:
        books = simulation.api.quota(account.name).windows.get(account.quota.resets_at - WINDOW)
        if books is not None and not simulation.scenario.options.neighbour:
            left = simulation.scenario.options.limit - books.charged
            assert account.quota.remaining <= left, f"{account.quota}, but {left} are left (I7)"


# I2, I6 and I7 once nothing happens any more


def _recovered(simulation: Simulation, cells: Mapping[Key, Cell], answers: Mapping[Series, list[Answer]]) -> None:
    """All that is configured is there: complete, final where it can be, and what the server says by now."""
    scenario, wishes = simulation.scenario, simulation.wishes
    calendar = scenario.calendar
    now = simulation.universe.now()
    sure = calendar.local_date(min(simulation.universe.host.time(), simulation.api.server_time(now)) - DAY)
    # What a backfill left undone before the daemon's first day stays so until somebody asks for it again.
    failed = {_series(row): row[4:] for row in query(simulation.url, _FAILED) if _date(row[5]) >= wishes.first}
    for series in _configured(simulation):
        assert series not in failed, f"{series}: failed still: {failed[series]} (I6)"
        world = _world(simulation, series.account)
        for day in calendar.starts(series.period, calendar.floor(series.period, wishes.first), sure):
            end = calendar.following(series.period, day)
            if end > sure:
                continue
            settled = (sure - end).days >= wishes.settle_days
            truth = world.truth(series.resource, series.phone, series.period, day, end - timedelta(days=1))
            for metric, values in truth.items():
                cell = cells.get((series, day, metric))
                assert cell is not None, f"{series} {day} {metric} is missing (I6)"
                assert cell.complete, f"{series} {day} {metric} is not complete (I6)"
                assert cell.final or not settled, f"{series} {day} {metric} is not final (I6)"
                if cell.final and scenario.late_days <= min(simulation.settles):
                    (true,) = values.values()
                    assert math.isclose(cell.value or 0.0, true), f"{series} {day} {metric}: {cell}, not {true} (I2)"
            if not settled:
                newest = next(one for one in reversed(answers[series]) if one.first <= day <= one.last)
                for metric, reported in _told(simulation, series, day, newest).items():
                    assert cells[series, day, metric].value == reported, f"{series} {day} {metric}: not the newest (I2)"


def _configured(simulation: Simulation) -> Iterable[Series]:
    wishes = simulation.wishes
    for account in simulation.scenario.accounts:
        for resource in wishes.resources:
            for phone in wishes.phones:
                for period in wishes.periods:
                    yield Series(account.name, resource, phone, period)


# I5


def _discreet(simulation: Simulation) -> None:
    """No secret in the database's files. The log was looked at as it came."""
    pairs = simulation.api.registry.pairs  # the temporary ones are secrets, too
    secrets = [CANARY.encode(), *(word.encode() for login, found in pairs.items() for word in (login, found.password))]
    secrets = [secret for secret in secrets if not secret.endswith(b"example.com")]
    for path in simulation.folder.glob(f"{simulation.path.name}*"):
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets), f"a secret in {path.name} (I5)"
