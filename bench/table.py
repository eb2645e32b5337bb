"""The rows in which measurements are printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HEADINGS = ("", "measured", "reference", "ratio", "at most", "remarks")
_WIDTHS = (50, 10, 10, 6, 7, 0)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement and its reference, both in `unit`; `at_most` is the goal for the ratio."""

    what: str
    took: float
    beside: float
    remarks: str = ""
    unit: str = "s"
    at_most: float | None = None

    @property
    def ratio(self) -> float:
        """Measured per reference."""
        return self.took / self.beside

    def cells(self) -> tuple[str, ...]:
        """Return the texts in the order of HEADINGS."""
        wanted = "" if self.at_most is None else f"{self.at_most:g}"
        return self.what, self._figure(self.took), self._figure(self.beside), f"{self.ratio:.3f}", wanted, self.remarks

    def _figure(self, number: float) -> str:
        digits = 3 if self.unit == "s" else 0
        return f"{number:.{digits}f} {self.unit}"


def line(cells: Iterable[str]) -> str:
    """Format one line of the table: the first cell and the remarks to the left, figures to the right."""
    first, *figures, remarks = zip(cells, _WIDTHS, strict=True)
    aligned = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in figures), remarks[0]]
    return "  ".join(aligned).rstrip()
