"""The lines that measurements are told in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HEADINGS = ("", "took", "beside", "ratio", "at most", "remarks")
_WIDTHS = (50, 10, 10, 6, 7, 0)


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured beside another, both in `unit`; `at_most` is what the ratio should not exceed."""

    what: str
    took: float
    beside: float
    remarks: str = ""
    unit: str = "s"
    at_most: float | None = None

    @property
    def ratio(self) -> float:
        """What the table is about."""
        return self.took / self.beside

    def cells(self) -> tuple[str, ...]:
        """As HEADINGS names them."""
        wanted = "" if self.at_most is None else f"{self.at_most:g}"
        return self.what, self._figure(self.took), self._figure(self.beside), f"{self.ratio:.3f}", wanted, self.remarks

    def _figure(self, number: float) -> str:
        digits = 3 if self.unit == "s" else 0
        return f"{number:.{digits}f} {self.unit}"


def line(cells: Iterable[str]) -> str:
    """One line of the table: the first cell and the remarks to the left, figures to the right."""
    first, *figures, remarks = zip(cells, _WIDTHS, strict=True)
    aligned = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in figures), remarks[0]]
    return "  ".join(aligned).rstrip()
