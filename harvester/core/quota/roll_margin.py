"""Safety margin at the roll of a window, learnt from having rolled too early.

The Date of an answer may come from another machine than the one that counts (a proxy, one of several servers), so a
window can last longer than the Date says. Each roll that the server contradicts doubles the margin, up to a bound.

The margin is halved only after CLEAN_ROLLS clean rolls, about a day of quarter hours: machines that disagree today
disagree tomorrow, and a second of 900 costs less than a 429 in every other window. A margin that was learnt from a
temporary fault is gone after a few days.
"""

from __future__ import annotations

from dataclasses import dataclass

CLEAN_ROLLS = 96  # after which the margin is halved

_FIRST = 1.0  # seconds
_LONGEST = 30.0  # seconds


@dataclass(slots=True)
class RollMargin:
    """Seconds to add to the certain end of a window; `window` is its length in seconds."""

    window: float
    seconds: float = 0.0
    clean_rolls: int = 0

    @property
    def longest(self) -> float:
        """The upper bound in seconds: more than that is no small disagreement of clocks."""
        return min(_LONGEST, self.window / 4)

    @property
    def first(self) -> float:
        """The smallest margin above zero, in seconds."""
        return min(_FIRST, self.window / 16)

    def grow(self) -> None:
        """Double the margin, because the server showed that the roll was too early."""
        self.seconds = min(self.longest, max(self.first, 2 * self.seconds))
        self.clean_rolls = 0

    def rolled(self) -> None:
        """Record that a window was entered by the clock."""
        self.clean_rolls += 1
        if self.clean_rolls >= CLEAN_ROLLS:
            self.seconds = self.seconds / 2 if self.seconds > self.first else 0.0
            self.clean_rolls = 0
