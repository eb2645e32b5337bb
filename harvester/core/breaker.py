"""Whether the API can be reached at all: a circuit breaker over all slices of an account.

One slice that fails is that slice's trouble; many in a row are the API's. It opens after 20 failures in a row over at
least 4 slices, or, where every try takes long, a minute after the first without any answer. From then on
slices are charged no attempt, and single probes go out with growing pauses until one is answered or patience ends.

What counts as failure is a connection that does not come about or goes away, a time-out, a 5xx, or somebody else's
page; every other answer, a refusal included, shows that the API is there.

A failure that is long past says nothing of now: where a request left `STALE` seconds or more after the last failure
(the quota was waited for, the machine slept), counting begins anew with it. Not so for probes, or one probe a window
could go on for ever.

Invariant: with a time-out of at most 60 s it is known within three minutes of trying that nobody answers.
Rejected: giving up at the 20th failure (eight workers reach it in a second; a restarting proxy takes longer).
"""

from __future__ import annotations

from collections.abc import Hashable

from harvester.core.backoff import backoff

FAILURES = 20
SLICES = 4
SILENCE = 60.0  # seconds since the first failure
SILENT_SLICES = 2
GIVE_UP_AFTER = 30.0  # seconds after the first failure in which a closed door is tried again
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
STALE = 20.0  # seconds; no pause between the tries of a slice is as long


class Breaker:
    """Counts failures in a row. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self.ever_answered = False
        self._failures = 0
        self._slices: set[Hashable] = set()
        self._since: float | None = None
        self._last = 0.0  # when the last failure was known
        self._probes = 0

    @property
    def is_open(self) -> bool:
        """Whether only probes may be sent."""
        return self._probes > 0

    def answered(self) -> bool:
        """An answer came. Returns whether the breaker was open until now."""
        was_open = self.is_open
        self.ever_answered = True
        self._failures, self._since, self._probes = 0, None, 0
        self._slices.clear()
        return was_open

    def failed(self, piece: Hashable, others: int, sent: float, now: float) -> None:
        """A request for a slice that left at `sent` failed; `others` is how many other slices there are to ask for."""
        if self._since is None or (not self.is_open and sent - self._last >= STALE):
            self._since, self._failures = now, 0
            self._slices.clear()
        self._last = now
        self._failures += 1
        self._slices.add(piece)
        if self.is_open:
            return
        silent = now - self._since >= SILENCE and len(self._slices) >= min(SILENT_SLICES, others + 1)
        if silent or (self._failures >= FAILURES and len(self._slices) >= SLICES):
            self._probes = 1

    def trip(self) -> None:
        """Open it at once: the failures there are were enough."""
        self._probes = max(1, self._probes)

    def next_probe(self, now: float, patience: float = GIVE_UP_AFTER) -> float | None:
        """Seconds until the next probe may go, or None when patience has ended."""
        if self._since is None or now - self._since >= patience:
            return None
        pause = backoff(FIRST_PAUSE, self._probes, LONGEST_PAUSE)
        self._probes += 1
        return pause
