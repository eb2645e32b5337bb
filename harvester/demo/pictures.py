"""The table and the chart as text. A stream that cannot show blocks gets ASCII; only a terminal gets colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final, Literal, NamedTuple, TextIO

from harvester.console.progress.display import can_draw
from harvester.demo.figures import WEEK, Year

HEIGHT: Final = 8  # rows of the chart
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_MARKS: Final = " .:|#"  # from nothing to a whole row
HEADS: Final = ("Phone", "Name", "Calls", "A day", "Err. %", "Load s")
_NAME: Final = 1  # the column that may be folded
_TEXT_COLUMNS: Final = 2  # the first ones of the table; the others are numbers


class Table(NamedTuple):
    """Cells as text."""

    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    total: tuple[str, ...]


def table(year: Year) -> Table:
    """A row per number, the busiest first."""
    rows = [
        (
            phone.phone,
            phone.name,
            f"{phone.calls:,}",
            f"{phone.calls_a_day:,.1f}",
            f"{phone.errors_in_100_calls:.2f}",
            f"{phone.page_load:.2f}",
        )
        for phone in sorted(year.phones, key=lambda one: -one.calls)
    ]
    calls = sum(phone.calls for phone in year.phones)
    days = max((phone.days for phone in year.phones), default=0)
    return Table(HEADS, rows, ("Sum", "", f"{calls:,}", f"{calls / days if days else 0:,.1f}", "", ""))


def aligned(content: Table) -> list[str]:
    """The table as plain lines."""
    every = [content.heads, *content.rows, content.total]
    widths = [max(len(cell) for cell in column) for column in zip(*every, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        parts = [
            cell.ljust(width) if at < _TEXT_COLUMNS else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(parts).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return [line(content.heads), rule, *map(line, content.rows), rule, line(content.total)]


def chart(days: Sequence[tuple[date, int]], *, blocks: bool) -> list[str]:
    """A column per day, from nought up, under it the first day of each seven.

    Args:
        days: each day and its height, in order and without a hole.
        blocks: whether the reader's terminal knows Unicode's block elements.
    """
    most = max((calls for _, calls in days), default=0)
    if not most:
        return []
    steps = _BLOCKS if blocks else _MARKS
    whole = len(steps) - 1
    heights = [-(-calls * HEIGHT * whole // most) for _, calls in days]
    labels = {HEIGHT - 1: f"{most:,}", 0: "0"}
    margin = len(labels[HEIGHT - 1])
    lines = []
    for row in reversed(range(HEIGHT)):
        columns = "".join(steps[min(whole, max(0, height - row * whole))] for height in heights)
        lines.append(f"{labels.get(row, ''):>{margin}} {columns}".rstrip())
    weeks = "".join(f"{day:%d %b}".ljust(WEEK) for day, _ in days[::WEEK])
    return [*lines, f"{'':>{margin}} {weeks}".rstrip()]


def print_table(content: Table, stream: TextIO, environ: Mapping[str, str]) -> None:
    """Print it, framed and in colours on a terminal."""
    if not can_draw(stream, environ):
        _print(aligned(content), stream)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as Framed

    framed = Framed(box=box.SIMPLE, show_footer=True, show_edge=False, padding=(0, 1, 0, 0))
    for at, (head, total) in enumerate(zip(content.heads, content.total, strict=True)):
        side: Literal["left", "right"] = "left" if at < _TEXT_COLUMNS else "right"
        framed.add_column(head, footer=total, justify=side, no_wrap=at != _NAME)  # a number that is cut is wrong
    for row in content.rows:
        framed.add_row(*row)
    Console(file=stream, force_terminal=True, highlight=False).print(framed)


def print_chart(days: Sequence[tuple[date, int]], stream: TextIO) -> None:
    """Print it, in blocks where the stream's encoding has them."""
    encoding = (stream.encoding or "").lower().replace("-", "")
    _print(chart(days, blocks=encoding.startswith("utf")), stream)


def _print(lines: Iterable[str], stream: TextIO) -> None:
    for line in lines:
        print(line, file=stream)
