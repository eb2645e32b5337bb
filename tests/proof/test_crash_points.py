"""A real process killed at every place on the way of an answer into the database, and started again.

After each death what is stored is what is covered, value by value; in the end the table is the world's, no window of
the server counted more than the limit over all the processes, nobody was refused, and no more was asked for again
than can have been in flight. `make test` kills once before and once after each step; `make prove` twice at each of
these places, at every place that is ever passed, and daemons as well.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harvester.core.period import Period
from harvester.failpoints import PLACES, Step
from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.databases import query
from tests.support.deaths import AT_THE_END, KINDS, Deaths, at_all_places, failpoint
from tests.support.postgres import Cluster, running_cluster
from tests.support.process import CHECKOUT, Ended, Installation, configuration
from tests.support.simulation import refused_per_window, serving_in_thread
from tests.support.truth import Wanted, assert_harvested, stored_rows

WORLD = World()
PHONES = tuple(f"80055501{number:02}" for number in range(4))
FIRST, LAST = date(2024, 1, 1), date(2024, 12, 31)
BACKFILL = ("backfill", "--start", f"{FIRST}", "--end", f"{LAST}", "--json")
WIDTH = 92  # days a request
SLICES = len(PHONES) * 4  # of 366 days
CONCURRENCY = 2
LIMIT, WINDOW = 20, 2
PASSAGES = (1, 3)  # the first kill is on the first passage, the next on the third
AT_ONCE = 6  # they wait more than they work
KILLED = -signal.SIGKILL
CANARY = "canary-58c1"
_COVERED = """
SELECT s.phone, c.first_day, c.last_day FROM coverage c JOIN series s ON s.id = c.series_id"""


@dataclass
class Victim:
    """One database, one server, and the processes that die between them."""

    api: SimulatedApi
    database: str
    harvester: Installation

    def run(self, order: str = "") -> Ended:
        """A backfill, to its end or its death."""
        return self.harvester.run(*BACKFILL, _HARVESTER_FAILPOINT=order)

    def dies(self, order: str) -> None:
        """It dies there, and leaves nothing half."""
        ended = self.run(order)
        assert ended.code == KILLED, f"{order}: {ended.err}"
        assert ended.out == ""
        assert_nothing_half(self.database)

    def heals(self, deaths: int) -> None:
        """The next one goes on from there and ends with the truth."""
        ended = self.run()
        assert ended.code == 0, ended.err
        assert_harvested(self.database, Wanted(FIRST, LAST, (Period.DAY,), PHONES, world=WORLD))
        books = self.api.requests_per_window()
        assert max(books.values()) <= LIMIT
        assert not any(refused_per_window(self.api).values())
        assert sum(books.values()) <= SLICES + deaths * 2 * CONCURRENCY
        assert ended.result["slices"]["done"] + ended.result["slices"]["already_covered"] == SLICES


def assert_nothing_half(database: str) -> None:
    """Each day that is called covered has all its values, once, and no other day has any."""
    try:
        covered = query(database, _COVERED)
    except Exception as error:
        if "no such table" in str(error) or "does not exist" in str(error):
            return  # it died before the first migration was whole
        raise
    expected: Counter[tuple[Any, ...]] = Counter()
    for phone, first, last in covered:
        days = [date.fromisoformat(str(day)) for day in (first, last)]
        expected += Wanted(days[0], days[1], (Period.DAY,), (phone,), world=WORLD).rows()
    assert stored_rows(database) == expected


@contextmanager
def victim(home: Path, database: str) -> Iterator[Victim]:
    options = Options(limit=LIMIT, window=WINDOW, latency=0.01, auth_limit=1000)
    api = SimulatedApi([Account(password=CANARY, world=WORLD)], options)
    with serving_in_thread(api) as url:
        tables = configuration(
            url,
            database,
            limit=LIMIT,
            window=WINDOW,
            phones=list(PHONES),
            password=CANARY,
            api={"max_days_per_request": WIDTH, "concurrency": CONCURRENCY},
        )
        yield Victim(api, database, Installation(home, tables))


def killed(deaths: Sequence[tuple[str, int]], home: Path, database: str) -> None:
    """One process dies after the other, each at the so manyeth passage of a place."""
    with victim(home, database) as one:
        for place, number in deaths:
            one.dies(failpoint(place, number))
            assert place != "after-commit" or stored_rows(database)  # of an answer, not of the start
        one.heals(len(deaths))
    assert not [path for path in home.iterdir() if path.name != "config.toml" and CANARY.encode() in path.read_bytes()]


def passages(place: str) -> tuple[int, ...]:
    return PASSAGES[:1] if place in AT_THE_END else PASSAGES


def killed_around(step: str, home: Path, database: str) -> None:
    before, after = f"before-{step}", f"after-{step}"
    killed([(before, passages(before)[0]), (after, passages(after)[-1])], home, database)


def killed_at(place: str, home: Path, database: str) -> None:
    killed([(place, number) for number in passages(place)], home, database)


@pytest.fixture(scope="module")
def deaths_around(tmp_path_factory: pytest.TempPathFactory, postgres: Cluster) -> Iterator[Deaths]:
    with at_all_places(killed_around, tmp_path_factory.mktemp, postgres, at_once=AT_ONCE, places=Step) as found:
        yield found


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory, postgres: Cluster) -> Iterator[Deaths]:
    with at_all_places(killed_at, tmp_path_factory.mktemp, postgres, at_once=AT_ONCE) as found:
        yield found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", Step)
def test_processes_killed_before_and_after_a_step_lose_and_double_nothing(
    step: Step, kind: str, deaths_around: Deaths
) -> None:
    deaths_around[step, kind].result()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_a_process_killed_there_loses_and_doubles_nothing(place: str, kind: str, deaths: Deaths) -> None:
    deaths[place, kind].result()


def test_an_ordinary_run_has_no_places_and_a_recorded_one_passes_them_all(tmp_path: Path) -> None:
    same = "from harvester.failpoints import Step, step; f = lambda: 0; print(step(Step.COMMIT)(f) is f)"
    for value, answer in (("", "True"), (f"record {tmp_path}/unused", "False")):
        environ = {**os.environ, "_HARVESTER_FAILPOINT": value}
        ended = subprocess.run([sys.executable, "-c", same], env=environ, cwd=CHECKOUT, capture_output=True, check=True)
        assert ended.stdout.decode().strip() == answer
    with victim(tmp_path, f"sqlite:///{tmp_path}/store.db") as one:
        assert one.run(f"record {tmp_path}/places").code == 0
    recorded = Counter((tmp_path / "places").read_text().split())
    assert recorded.keys() == set(PLACES)
    for name in (Step.SEND, Step.RECEIVE):  # /auth, too
        assert recorded[f"before-{name}"] == SLICES + 1
    assert recorded[f"after-{Step.PARSE}"] == SLICES


def passed(run: Callable[[str], object], file: Path) -> int:
    """How many places an undisturbed run passes."""
    run(f"record {file}")
    return len(file.read_text().split())


@pytest.mark.slow
def test_a_process_killed_at_every_passage(tmp_path: Path, store_url: str) -> None:
    """A database for each; the first of them tells how many there are."""
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster()) if store_url.startswith("postgres") else None

        def stage(name: str) -> Victim:
            home = tmp_path / name
            home.mkdir()
            url = f"sqlite:///{home}/store.db" if cluster is None else stack.enter_context(cluster.database())
            return stack.enter_context(victim(home, url))

        def live(number: int, one: Victim) -> None:
            ended = one.run(f"kill any {number}")
            assert ended.code in {KILLED, 0}, ended.err  # the last ones may not be reached every time
            assert_nothing_half(one.database)
            one.heals(ended.code == KILLED)

        count = passed(stage("undisturbed").run, tmp_path / "told")
        assert count > 8 * SLICES
        with ThreadPoolExecutor(AT_ONCE) as pool:
            lives = [pool.submit(live, number, stage(str(number))) for number in range(1, count + 1)]
            for life in lives:
                life.result()
