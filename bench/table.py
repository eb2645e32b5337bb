"""The lines that measurements are told in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADINGS = ("", "took", "beside", "ratio", "remarks")
_WIDTHS = (48, 9, 9, 6, 0)


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured beside another; both in seconds."""

    what: str
    took: float
    beside: float
    remarks: str = ""

    @property
    def ratio(self) -> float:
        """What the table is about."""
        return self.took / self.beside

    def cells(self) -> tuple[str, ...]:
        """As HEADINGS names them."""
        return self.what, f"{self.took:.3f} s", f"{self.beside:.3f} s", f"{self.ratio:.3f}", self.remarks


def line(cells: Iterable[str]) -> str:
    """One line of the table: the first cell and the remarks to the left, figures to the right."""
    first, *figures, remarks = zip(cells, _WIDTHS, strict=True)
    aligned = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in figures), remarks[0]]
    return "  ".join(aligned).rstrip()
