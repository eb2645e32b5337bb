"""Circuit breaker: decides that the API cannot be reached, from the failures over all slices of an account.

A single failing slice may have a fault of its own; many failures in a row mean that the API is down. The breaker opens
after 20 failures in a row over at least 4 slices or, where every attempt takes long, a minute after the first failure
without any answer. While it is open, no attempt is charged to a slice, and single probes are sent with growing pauses
until one is answered or `give_up_after` has passed. Failures are: no connection, a lost connection, a time-out, a 5xx,
and a page of another server. Every other answer, a refusal included, proves that the API is there.

An old failure says nothing about now. If a request was sent `FAILURE_EXPIRES` seconds or more after the last failure
(after a wait for the quota or a suspended host), counting starts again with it. Probes are exempt: with one per quota
window they would never end.

Invariant: with a time-out of at most 60 s, an API that does not answer is recognised within three minutes of trying.
Rejected: giving up at the 20th failure (eight workers reach it in a second; a restarting proxy takes longer).
"""

from collections.abc import Hashable

from harvester.core.backoff import backoff

OPENING_FAILURES = 20
OPENING_SLICES = 4
OPENING_SILENCE = 60.0  # seconds since the first failure
SILENT_SLICES = 2  # slices that have to fail within OPENING_SILENCE
GIVE_UP_AFTER = 30.0  # seconds after the first failure in which probes are sent
FIRST_PROBE_PAUSE = 1.0  # seconds
LONGEST_PROBE_PAUSE = 60.0  # seconds
FAILURE_EXPIRES = 20.0  # seconds; no pause between the attempts of a slice is as long


class Breaker:
    """Counter of failures in a row. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self.ever_answered = False
        self._failures = 0
        self._slices: set[Hashable] = set()
        self._first_failure: float | None = None
        self._last_failure = 0.0
        self._probes = 0

    @property
    def is_open(self) -> bool:
        """True while only probes may be sent."""
        return self._probes > 0

    def answered(self) -> bool:
        """Record an answer and close the breaker. Return True if it was open until now."""
        was_open = self.is_open
        self.ever_answered = True
        self._failures, self._first_failure, self._probes = 0, None, 0
        self._slices.clear()
        return was_open

    def failed(self, piece: Hashable, other_slices: int, sent: float, now: float) -> None:
        """Record that a request for slice `piece`, sent at `sent`, failed; `other_slices` are left to be asked for."""
        if self._first_failure is None or (not self.is_open and sent - self._last_failure >= FAILURE_EXPIRES):
            self._first_failure, self._failures = now, 0
            self._slices.clear()
        self._last_failure = now
        self._failures += 1
        self._slices.add(piece)
        if self.is_open:
            return
        enough_slices = len(self._slices) >= min(SILENT_SLICES, other_slices + 1)
        silent = now - self._first_failure >= OPENING_SILENCE and enough_slices
        if silent or (self._failures >= OPENING_FAILURES and len(self._slices) >= OPENING_SLICES):
            self._probes = 1

    def trip(self, now: float) -> None:
        """Open the breaker at once, whatever the number of failures."""
        if self._first_failure is None:
            self._first_failure = self._last_failure = now
        self._probes = max(1, self._probes)

    def next_probe(self, now: float, give_up_after: float = GIVE_UP_AFTER) -> float | None:
        """Return the seconds until the next probe; None once `give_up_after` seconds of failures have passed."""
        if self._first_failure is None or now - self._first_failure >= give_up_after:
            return None
        pause = backoff(FIRST_PROBE_PAUSE, self._probes, LONGEST_PROBE_PAUSE)
        self._probes += 1
        return pause
