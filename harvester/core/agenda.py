"""What is still to be asked for, in which order, and when.

Newest first: the heap is ordered by the slice's last day, then by arrival. A task that waits for its next try
lies aside until its moment. A task in flight is in neither place; whoever took it puts back what becomes of it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harvester.core.refusal import Task


@dataclass(slots=True)
class Entry:
    """A task and how often it was tried."""

    task: Task
    attempts: int = 0
    only_500: bool = True  # every try so far was answered 500
    key: tuple[int, int] = field(default=(0, 0))

    @property
    def phone(self) -> str:
        """The phone that is asked for."""
        return self.task.slice.series.phone


class Agenda:
    """The tasks of one account that are not in flight. `now` is in monotonic seconds."""

    def __init__(self, tasks: Iterable[Task] = ()) -> None:
        self._arrivals = count()
        self._ready: list[tuple[tuple[int, int], Entry]] = []
        self._later: list[tuple[float, int, Entry]] = []
        for task in tasks:
            self.add(Entry(task))

    def __len__(self) -> int:
        return len(self._ready) + len(self._later)

    def add(self, entry: Entry) -> None:
        """Ready to be asked for."""
        entry.key = (-entry.task.slice.last.toordinal(), next(self._arrivals))
        heapq.heappush(self._ready, (entry.key, entry))

    def add_later(self, entry: Entry, moment: float) -> None:
        """To be asked for again, not before a moment."""
        heapq.heappush(self._later, (moment, next(self._arrivals), entry))

    def take(self, now: float, *, avoid: frozenset[str] = frozenset()) -> Entry | None:
        """The first entry that is ready, of another phone than those in `avoid`; None if there is none."""
        self._ripen(now)
        passed_over = []
        found = None
        while self._ready:
            key, entry = heapq.heappop(self._ready)
            if entry.phone not in avoid:
                found = entry
                break
            passed_over.append((key, entry))
        for item in passed_over:
            heapq.heappush(self._ready, item)
        return found

    def has_ready(self, now: float, *, avoid: frozenset[str] = frozenset()) -> bool:
        """Whether `take` would find an entry."""
        self._ripen(now)
        if not avoid:
            return bool(self._ready)
        return any(entry.phone not in avoid for _, entry in self._ready)

    def next_moment(self) -> float | None:
        """When the next waiting entry is due; None if none waits."""
        return self._later[0][0] if self._later else None

    def phones(self) -> frozenset[str]:
        """The phones that are still to be asked for."""
        entries = [entry for _, entry in self._ready] + [entry for *_, entry in self._later]
        return frozenset(entry.phone for entry in entries)

    def forgive(self) -> None:
        """Nobody answered for a while: no slice is to blame for its failed tries, and none has to wait."""
        for _, _, entry in self._later:
            self.add(entry)
        self._later.clear()
        for _, entry in self._ready:
            entry.attempts = 0

    def _ripen(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            self.add(heapq.heappop(self._later)[2])
