"""The bar on a terminal. Only this module imports rich.

While it is up, `sys.stderr` is rich's: what is written there appears above the bar, whole lines at a time. So logs
must look `sys.stderr` up at every write. The cursor stays visible, since a process that is killed could not show it
again. There is no thread: the bar is drawn by whoever calls `show`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvester.console.progress import text

if TYPE_CHECKING:
    from harvester.console.progress.view import View

_WIDEST = 100  # columns


class BarDisplay:
    """Draws each View in the place of the one before, and leaves nothing behind."""

    period = 0.2  # seconds between two looks

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, force_terminal=True, highlight=False)
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=True
        )
        self._live.start()
        self._console.show_cursor(True)

    def show(self, view: View, _now: float) -> None:
        """Draw it."""
        width = min(_WIDEST, self._console.width)
        self._live.update(draw(view, width), refresh=True)

    def close(self) -> None:
        """Take the bar away."""
        self._live.stop()


def draw(view: View, width: int) -> RenderableType:
    """Bar and slices in one row, the rest in words below it; nothing before there is a plan."""
    words = [text.holders(view)]
    rows: list[RenderableType] = []
    if view.planned:
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(ratio=1)
        row.add_column(justify="right", no_wrap=True)
        bar = ProgressBar(total=view.planned, completed=view.done + view.failed, complete_style="cyan")
        row.add_row(bar, text.slices(view))
        outer = Table.grid()
        outer.add_column(width=width)
        outer.add_row(row)
        rows.append(outer)
        words = [text.pace(view), text.work(view), *words]
    below = "; ".join(word for word in words if word)
    if below:
        rows.append(Text(below, style="dim"))
    return Group(*rows)
