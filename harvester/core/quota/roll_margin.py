"""Safety margin at the roll of a window, learnt from having rolled too early.

The Date of an answer may come from another machine than the one that counts (a proxy, one of several servers), so a
window can last longer than the Date says. Each roll that the server contradicts doubles the margin, up to a bound.

The margin is halved only after CLEAN_ROLLS clean rolls, about a day of quarter hours, so it ends days after a passing
fault: machines that disagree today disagree tomorrow, and a second of 900 costs less than a 429 in every other window.
"""

CLEAN_ROLLS = 96  # after which the margin is halved

_FIRST = 1.0  # seconds; the smallest margin above zero
_LONGEST = 30.0  # seconds


class RollMargin:
    """Seconds to add to the certain end of a window of `window` seconds."""

    def __init__(self, window: float) -> None:
        self.seconds = 0.0
        self.first = min(_FIRST, window / 16)
        self.longest = min(_LONGEST, window / 4)  # more than that is no small disagreement of clocks
        self._clean_rolls = 0

    def grow(self) -> None:
        """Double the margin, because the server showed that the roll was too early."""
        self.seconds = min(self.longest, max(self.first, 2 * self.seconds))
        self._clean_rolls = 0

    def rolled(self) -> None:
        """Record that a window was entered by the clock."""
        self._clean_rolls += 1
        if self._clean_rolls >= CLEAN_ROLLS:
            self.seconds = self.seconds / 2 if self.seconds > self.first else 0.0
            self._clean_rolls = 0
