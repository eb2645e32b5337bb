"""What is still to be asked for, in which order, and when.

By rank first (fresh data, then repairs, then the past), newest first within a rank, then by arrival; but what was
begun, the search for what is to blame for a refusal, goes on before anything new of its rank. So that no
rank waits for ever, one take in `SHARE` goes to each lower rank that waits: of 150 requests a window at least ten.
A task that waits for its next try lies aside until its moment. A task in flight is in neither place; whoever took it
puts back what becomes of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

from harvester.core.priority import Priority

if TYPE_CHECKING:
    from harvester.core.model import Slice
    from harvester.core.refusal import Task

SHARE = 15  # takes of which each lower rank that waits gets one


@dataclass(slots=True)
class Entry:
    """A task and how often it was tried."""

    task: Task
    attempts: int = 0
    only_500: bool = True  # every try so far was answered 500
    sent: float = 0.0  # when it was taken last

    @property
    def phone(self) -> str:
        """The phone that is asked for."""
        return self.task.slice.series.phone


class WorkQueue:
    """The tasks of one account that are not in flight. `now` is in monotonic seconds.

    Args:
        tasks: to begin with.
        rank: of a slice; without it all are equal.
    """

    def __init__(self, tasks: Iterable[Task] = (), priority: Callable[[Slice], Priority] | None = None) -> None:
        self._priority = priority or (lambda _: Priority.PAST)
        self._arrivals = count()
        self._ready: dict[Priority, list[tuple[bool, int, int, Entry]]] = {each: [] for each in Priority}
        self._passed_over = dict.fromkeys(Priority, 0)  # takes since a waiting rank had its turn
        self._later: list[tuple[float, int, Entry]] = []
        for task in tasks:
            self.add(Entry(task))

    def __len__(self) -> int:
        return sum(map(len, self._ready.values())) + len(self._later)

    def add(self, entry: Entry) -> None:
        """Ready to be asked for."""
        piece = entry.task.slice
        begun = entry.task.older is not None  # a search goes on at once: others can use what it finds out
        heapq.heappush(
            self._ready[self._priority(piece)], (not begun, -piece.last.toordinal(), next(self._arrivals), entry)
        )

    def add_later(self, entry: Entry, moment: float) -> None:
        """To be asked for again, not before a moment."""
        heapq.heappush(self._later, (moment, next(self._arrivals), entry))

    def take(self, now: float, *, avoid: frozenset[str] = frozenset()) -> Entry | None:
        """The first entry that is ready, of another phone than those in `avoid`; None if there is none."""
        self._ripen(now)
        for priority in self._turns():
            entry = self._pop(self._ready[priority], avoid)
            if entry is not None:
                for other, ready in self._ready.items():
                    waits = other is not priority and ready
                    self._passed_over[other] = self._passed_over[other] + 1 if waits else 0
                return entry
        return None

    def has_ready(self, now: float, *, avoid: frozenset[str] = frozenset(), already_claimed: int = 0) -> bool:
        """Whether `take` would find an entry after it was called `already_claimed` times."""
        self._ripen(now)
        found = (entry for ready in self._ready.values() for *_, entry in ready if entry.phone not in avoid)
        return next(islice(found, already_claimed, None), None) is not None

    def next_due(self) -> float | None:
        """When the next waiting entry is due; None if none waits."""
        return self._later[0][0] if self._later else None

    def phones(self) -> frozenset[str]:
        """The phones that are still to be asked for."""
        waiting = [entry for ready in self._ready.values() for *_, entry in ready]
        return frozenset(entry.phone for entry in (*waiting, *(entry for *_, entry in self._later)))

    def wake(self) -> None:
        """The API answers again: none has to wait for its moment.

        Tries that were charged stay charged. Were they forgiven, a server that fails on wide ranges and answers the
        narrow probe would be asked the same ranges for ever, twenty failures a probe.
        """
        for _, _, entry in self._later:
            self.add(entry)
        self._later.clear()

    def _turns(self) -> list[Priority]:
        """The ranks of which something is ready, in the order in which they may be served now."""
        ready = [priority for priority, entries in self._ready.items() if entries]
        return sorted(ready, key=lambda priority: (self._passed_over[priority] < SHARE - 1, priority))

    @staticmethod
    def _pop(ready: list[tuple[bool, int, int, Entry]], avoid: frozenset[str]) -> Entry | None:
        passed_over = []
        found = None
        while ready and found is None:
            item = heapq.heappop(ready)
            if item[3].phone in avoid:
                passed_over.append(item)
            else:
                found = item[3]
        for item in passed_over:
            heapq.heappush(ready, item)
        return found

    def _ripen(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            self.add(heapq.heappop(self._later)[2])
