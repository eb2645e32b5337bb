"""Processes killed at every named place, in SQLite and in PostgreSQL, side by side: they wait more than they work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harvester.failpoints import ANY, PLACES, Step
from tests.support.postgres import Cluster

Deaths = Mapping[tuple[str, str], Future[None]]  # by place and kind of database

KINDS = ("sqlite", "postgresql")
AT_THE_END = ("before-release", "after-release")  # places that a process passes once
# Claims, reads and the quota are transactions, too: from here on those of answers are met.
SINCE = {Step.BEGIN: "after-parse", Step.COMMIT: "before-write"}


def failpoint(place: str, number: int) -> str:
    """The order to die at the so manyeth passage of a place on an answer's way."""
    return f"kill {place} {number} {SINCE.get(Step(place.partition('-')[2]), ANY)}"


@contextmanager
def at_all_places(
    kill: Callable[[str, Path, str], None],
    new_home: Callable[[str], Path],
    cluster: Cluster,
    *,
    at_once: int,
    places: Iterable[str] = PLACES,
) -> Iterator[Deaths]:
    """Call `kill` with each place, an empty directory and the URL of an empty database; gives what becomes of each."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(at_once))
        found = {}
        for place in places:
            for kind in KINDS:
                home = new_home(f"{kind}-{place}")
                url = f"sqlite:///{home}/store.db" if kind == "sqlite" else stack.enter_context(cluster.database())
                found[place, kind] = pool.submit(kill, place, home, url)
        yield found
