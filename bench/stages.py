"""The time of a backfill by stage: start, fetch, parse, normalize, write, wait.

The harvester itself runs, with timers around the functions that do one thing each; `python -m bench.stages backfill …`
is the command with its stages on stderr. All stages except waiting are CPU time. The event loop's thread fetches,
parses and normalizes; what else it spends (sockets, HTTP, quota, the tasks' own steps) counts as fetching. The store's
thread writes in parallel. Waiting is the time in which the event loop's thread slept: for answers, for the store, for
the disk.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

from bench.harvests import rehearsed
from bench.table import Row

P = ParamSpec("P")
T = TypeVar("T")
PHONES = 200
STAGES = ("start", "fetch", "parse", "normalize", "wait")


def measure() -> Iterator[Row]:
    widths = {"200 requests of a year": 366, "2,400 requests of a month": 31}
    with rehearsed(PHONES, *widths.values()) as ground:
        for name, width in widths.items():
            ground.configure(f"sqlite:///{ground.file()}", max_days_per_request=width)
            run = ground.backfill(command=(sys.executable, "-m", "bench.stages"))
            spent = json.loads(run.err.splitlines()[-1])
            for stage in (*STAGES, "write"):
                remarks = "in parallel, in its own thread" if stage == "write" else ""
                yield Row(f"{name}: {stage} / whole", spent[stage], run.seconds, remarks)


def main() -> None:
    """Run the harvester with timers around its stages."""
    spent = dict.fromkeys((*STAGES, "write"), 0.0)

    def watched(stage: str, function: Callable[P, T]) -> Callable[P, T]:
        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            begun = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[stage] += time.thread_time() - begun

        return timed

    _watch(watched)
    from harvester.backfill.run import Backfill, BackfillResult
    from harvester.cli import main as harvester

    whole = Backfill.run

    async def run(self: Backfill, on_second_interrupt: Callable[[], None]) -> BackfillResult:
        spent["start"] = time.process_time()
        begun, cpu = time.perf_counter(), time.thread_time()
        try:
            return await whole(self, on_second_interrupt)
        finally:
            busy = time.thread_time() - cpu
            spent["fetch"] = busy - spent["parse"] - spent["normalize"]
            spent["wait"] = time.perf_counter() - begun - busy

    Backfill.run = run  # type: ignore[method-assign]
    try:
        harvester()
    finally:
        print(json.dumps(spent), file=sys.stderr)


def _watch(watched: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
    from harvester.database.db_thread import DatabaseThread
    from harvester.runner import worker_pool
    from harvester.source import http

    for module, stage, name in ((http, "parse", "parse_metrics"), (worker_pool, "normalize", "normalize")):
        setattr(module, name, watched(stage, getattr(module, name)))
    run = DatabaseThread.run

    async def watched_run(
        self: DatabaseThread, work: Callable[[], Any], *, undo: Callable[[Any], object] | None = None
    ) -> Any:  # noqa: ANN401 - the result of the work
        return await run(self, watched("write", work), undo=undo)

    DatabaseThread.run = watched_run  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
