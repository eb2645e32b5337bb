"""Table and chart of the demonstration, drawn by rich.

A stream whose encoding is not Unicode gets ASCII; only a terminal gets colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, TextIO

from rich.box import SIMPLE
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table

from harvester.console.progress.display import can_draw
from harvester.demo.figures import Year

_PIPE_WIDTH: Final = 80  # columns of a stream that is no terminal
_MAX_BAR_WIDTH: Final = 50  # columns


def phone_table(year: Year) -> Table:
    """Return a table of the numbers, in the order of their calls."""
    days = max((phone.days for phone in year.phones), default=0)
    calls = sum(phone.calls for phone in year.phones)
    table = Table(box=SIMPLE, show_footer=True, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Phone", "Sum", no_wrap=True)
    table.add_column("Name")
    table.add_column("Calls", f"{calls:,}", justify="right", no_wrap=True)
    table.add_column("A day", f"{calls / days if days else 0:,.1f}", justify="right", no_wrap=True)
    table.add_column("Err. %", justify="right", no_wrap=True)
    table.add_column("Load s", justify="right", no_wrap=True)
    for phone in sorted(year.phones, key=lambda one: -one.calls):
        table.add_row(
            phone.phone,
            phone.name,
            f"{phone.calls:,}",
            f"{phone.calls_per_day:,.1f}",
            f"{phone.errors_per_100_calls:.2f}",
            f"{phone.page_load:.2f}",
        )
    return table


def call_chart(days: Sequence[tuple[date, int]]) -> Table:
    """Return a chart with one bar per day, in proportion to its calls.

    Args:
        days: each day and its number of calls.
    """
    most = max((calls for _, calls in days), default=0)
    chart = Table.grid(padding=(0, 1, 0, 0))
    chart.add_column(no_wrap=True)
    chart.add_column()
    chart.add_column(justify="right", no_wrap=True)
    for day, calls in days:
        bar = ProgressBar(
            total=max(1, most),
            completed=calls,
            width=_MAX_BAR_WIDTH,
            style="dim",
            complete_style="cyan",
            finished_style="cyan",
        )
        chart.add_row(f"{day:%a %d %b}", bar, f"{calls:,}")
    return chart


def draw(content: Table, stream: TextIO, environ: Mapping[str, str]) -> None:
    """Print a table or a chart."""
    terminal = can_draw(stream, environ)
    width = None if terminal else _PIPE_WIDTH
    Console(file=stream, force_terminal=terminal, width=width, highlight=False).print(content)
