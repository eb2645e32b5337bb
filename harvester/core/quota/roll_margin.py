"""How much longer than the clocks say to wait at a roll, learnt from having rolled too early.

The Date of an answer may come from another machine than the one that counts (a proxy, one of several servers), so a
window can last longer than the Date says. Each roll that the server contradicts doubles the margin, up to a bound.

It persists and is halved only after FORGIVEN clean rolls, about a day of quarter hours: machines that disagree today
disagree tomorrow, and what the margin costs (a second of 900) is less than a 429 in every other window. One that was
learnt from a passing trouble is gone after a few days.
"""

from __future__ import annotations

from dataclasses import dataclass

_FIRST = 1.0  # seconds
_MOST = 30.0
FORGIVEN = 96  # clean rolls


@dataclass(slots=True)
class Margin:
    """Seconds to add to the safe end of a window of so many seconds."""

    window: float
    seconds: float = 0.0
    clean: int = 0

    @property
    def most(self) -> float:
        """The bound, seconds: more than that is no small disagreement of clocks."""
        return min(_MOST, self.window / 4)

    @property
    def first(self) -> float:
        """The least that is added once something is, seconds."""
        return min(_FIRST, self.window / 16)

    def grow(self) -> None:
        """The server says that we rolled too early."""
        self.seconds = min(self.most, max(self.first, 2 * self.seconds))
        self.clean = 0

    def rolled(self) -> None:
        """Another window was entered by the clock."""
        self.clean += 1
        if self.clean >= FORGIVEN:
            self.seconds = self.seconds / 2 if self.seconds > self.first else 0.0
            self.clean = 0
