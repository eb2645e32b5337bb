"""Priority queue of the requests that are not in flight.

The order is by priority (fresh data, then repairs, then the past), newest first within a priority, then by arrival. A
search for the reason of a refusal goes on before anything new of its priority. So that no priority waits for ever, one
take in `TAKES_PER_TURN` goes to each lower priority that waits: of 150 requests per window at least ten. A task that
waits for its next attempt is delayed until its moment. The worker of a task in flight adds what follows its answer.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count, islice

from harvester.core.controls import Target, target_of
from harvester.core.model import Slice
from harvester.core.priority import Priority
from harvester.core.range_limits import Task

TAKES_PER_TURN = 15  # takes of which each lower priority that waits gets one


@dataclass(slots=True)
class Entry:
    """A task and its attempts."""

    task: Task
    attempts: int = 0
    tested: bool = False  # after a failure, by its newest period
    sent: float = 0.0  # when it was taken last, monotonic seconds
    forbidden: int = 0  # times that it got a 403 moments after another request was answered
    is_control: bool = False  # it was answered before, and its answer is not stored

    @property
    def phone(self) -> str:
        """The phone to ask for."""
        return self.task.slice.series.phone


class WorkQueue:
    """Queue of one account's tasks. `now` is in monotonic seconds.

    Args:
        tasks: initial tasks.
        priority_of: ranks slices; without it all are equal.
    """

    def __init__(self, tasks: Iterable[Task] = (), priority_of: Callable[[Slice], Priority] | None = None) -> None:
        self._priority_of = priority_of or (lambda _: Priority.PAST)
        self._arrivals = count()
        self._ready: dict[Priority, list[tuple[bool, int, int, Entry]]] = {each: [] for each in Priority}
        self._passed_over = dict.fromkeys(Priority, 0)  # takes since a waiting priority had its turn
        self._delayed: list[tuple[float, int, Entry]] = []
        for task in tasks:
            self.add(Entry(task))

    def __len__(self) -> int:
        return sum(map(len, self._ready.values())) + len(self._delayed)

    def add(self, entry: Entry) -> None:
        """Add an entry that may be taken at once."""
        piece = entry.task.slice
        searching = entry.task.is_search  # goes on at once, the narrowest first: other tasks profit from what it finds
        rank = (not searching, piece.days if searching else -piece.last.toordinal(), next(self._arrivals), entry)
        heapq.heappush(self._ready[self._priority_of(piece)], rank)

    def add_later(self, entry: Entry, moment: float) -> None:
        """Add an entry that may not be taken before `moment`."""
        heapq.heappush(self._delayed, (moment, next(self._arrivals), entry))

    def take(self, now: float, *, avoid: frozenset[str] = frozenset()) -> Entry | None:
        """Remove and return the first ready entry of a phone that is not in `avoid`; None if there is none."""
        self._move_due(now)
        for priority in self._turns():
            entry = self._pop(self._ready[priority], avoid)
            if entry is not None:
                for other, ready in self._ready.items():
                    waits = other is not priority and ready
                    self._passed_over[other] = self._passed_over[other] + 1 if waits else 0
                return entry
        return None

    def has_ready(self, now: float, *, avoid: frozenset[str] = frozenset(), already_claimed: int = 0) -> bool:
        """Return True if more than `already_claimed` entries of phones not in `avoid` are ready."""
        self._move_due(now)
        found = (entry for ready in self._ready.values() for *_, entry in ready if entry.phone not in avoid)
        return next(islice(found, already_claimed, None), None) is not None

    def next_due(self) -> float | None:
        """Return the moment of the next delayed entry; None if none is delayed."""
        return self._delayed[0][0] if self._delayed else None

    def phones(self) -> frozenset[str]:
        """Return the phones that are still to be asked for."""
        ready = [entry for entries in self._ready.values() for *_, entry in entries]
        return frozenset(entry.phone for entry in (*ready, *(entry for *_, entry in self._delayed)))

    def drain(self) -> list[Entry]:
        """Remove and return all entries."""
        entries = [entry for ready in self._ready.values() for *_, entry in ready]
        entries += [entry for *_, entry in self._delayed]
        for ready in self._ready.values():
            ready.clear()
        self._delayed.clear()
        return entries

    def targets(self) -> frozenset[Target]:
        """Return the resources and phones that are still to be asked for."""
        ready = [entry for entries in self._ready.values() for *_, entry in entries]
        entries = (*ready, *(entry for *_, entry in self._delayed))
        return frozenset(target_of(entry.task.slice) for entry in entries)

    def all_tried(self) -> bool:
        """Return True if every entry was sent before; each of them may have a fault of its own."""
        ready = all(entry.sent for entries in self._ready.values() for *_, entry in entries)
        return ready and all(entry.sent for *_, entry in self._delayed)

    def wake(self) -> None:
        """Make all delayed entries ready, because the API answers again.

        Their attempts still count. Otherwise a server that fails on wide ranges and answers the narrow probe would be
        asked for the same ranges for ever, twenty failures a probe.
        """
        for _, _, entry in self._delayed:
            self.add(entry)
        self._delayed.clear()

    def _turns(self) -> list[Priority]:
        """Return the priorities that have ready entries, in the order in which they may be served now."""
        ready = [priority for priority, entries in self._ready.items() if entries]
        return sorted(ready, key=lambda priority: (self._passed_over[priority] < TAKES_PER_TURN - 1, priority))

    @staticmethod
    def _pop(ready: list[tuple[bool, int, int, Entry]], avoid: frozenset[str]) -> Entry | None:
        avoided = []
        while ready and ready[0][3].phone in avoid:
            avoided.append(heapq.heappop(ready))
        found = heapq.heappop(ready)[3] if ready else None
        for item in avoided:
            heapq.heappush(ready, item)
        return found

    def _move_due(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            self.add(heapq.heappop(self._delayed)[2])
