"""Pauses that the API asks for although the quota is not spent: Retry-After, and limits on bursts.

A 429 with requests left, or without the quota headers that other answers have, comes from a limit on bursts. It is
followed by a short pause that doubles with each further refusal until a request is accepted. A Retry-After is obeyed,
but for `MAX_WINDOWS` windows at most: a proxy's "in a day" must not silence an account for a day. After a pause of
more than `LONG` seconds one request goes first, and any accepted request ends such a pause early.
"""

import math

from harvester.core.backoff import backoff

FIRST_BURST_PAUSE = 1.0  # seconds
LONGEST_BURST_PAUSE = 60.0  # seconds, and a quarter of a window at most
MAX_WINDOWS = 4  # windows for which a Retry-After is obeyed
LONG = 60.0  # seconds; a longer pause ends with the first accepted request


class Silence:
    """The pause in force. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self.until = -math.inf  # monotonic
        self.probing = False  # after a long pause: one request goes first
        self._refusals = 0  # in a row
        self._last_began = -math.inf
        self.long = False  # more than LONG seconds

    def asked(self, now: float, seconds: float, window: float) -> None:
        """Obey a Retry-After of `seconds`; `window` is the length of a window in seconds."""
        self._extend(now, min(seconds, MAX_WINDOWS * window))

    def extend_to(self, moment: float) -> None:
        """Send nothing before a moment."""
        self.until = max(self.until, moment)

    def burst(self, sent: float, now: float, window: float) -> None:
        """Pause after a 429 for a request sent at `sent` that was not the quota's."""
        if sent < self._last_began:
            return  # sent before the pause: it shows nothing more
        self._refusals += 1
        longest = min(LONGEST_BURST_PAUSE, max(FIRST_BURST_PAUSE, window / 4))
        self._extend(now, backoff(FIRST_BURST_PAUSE, self._refusals, longest))

    def accepted(self) -> None:
        """Note an accepted request: it ends a long pause."""
        self._refusals = 0
        self.probing = False
        if self.long:
            self.long = False
            self.until = -math.inf

    def _extend(self, now: float, seconds: float) -> None:
        self._last_began = now
        if now + seconds > self.until:
            self.until = now + seconds
            self.long = self.probing = seconds > LONG
