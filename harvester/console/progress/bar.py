"""Progress bar on a terminal. Of the progress modules only this one imports rich.

While the bar is drawn, `sys.stderr` is rich's: what is written there appears above the bar, in whole lines. So loggers
must look `sys.stderr` up at every write. The cursor stays visible, since a killed process could not show it again.
There is no thread: `render` draws.
"""

from __future__ import annotations

from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvester.console.progress import text
from harvester.console.progress.view import View

_MAX_WIDTH = 100  # columns


class BarRenderer:
    """Draws each View in the place of the one before (display.Renderer). Nothing is left on the screen at the end."""

    interval = 0.2  # seconds

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, force_terminal=True, highlight=False)
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=True
        )
        self._live.start()
        self._console.show_cursor(True)

    def render(self, view: View, _now: float) -> None:
        """Draw the bar."""
        width = min(_MAX_WIDTH, self._console.width)
        self._live.update(draw(view, width), refresh=True)

    def close(self) -> None:
        """Remove the bar and restore `sys.stderr`."""
        self._live.stop()


def draw(view: View, width: int) -> RenderableType:
    """Return bar and slices in one row, the other figures as text below it; no bar before there is a plan."""
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
