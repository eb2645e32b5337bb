"""Progress lines for a stream that is no terminal: a log file, a pipe, cron's mail. Few, so that none is noise."""

from __future__ import annotations

from typing import TextIO

from harvester.console.progress.text import line
from harvester.console.progress.view import View

BUSY_SECONDS = 5.0  # between two lines
IDLE_SECONDS = 30.0  # between two lines while the run only waits, after one line has said so


class LineSchedule:
    """Decides when a line is due: as soon as there is one, then every few seconds."""

    def __init__(self) -> None:
        self._printed_at: float | None = None
        self._printed_idle = False

    def due(self, view: View, now: float) -> str | None:
        """Return the line to print now, or None (`now`: monotonic seconds)."""
        pause = IDLE_SECONDS if view.idle and self._printed_idle else BUSY_SECONDS
        if self._printed_at is not None and now - self._printed_at < pause:
            return None
        text = line(view)
        if not text:
            return None
        self._printed_at, self._printed_idle = now, view.idle
        return text


class LineRenderer:
    """Prints the lines that are due (display.Renderer)."""

    interval = 0.25  # seconds

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._schedule = LineSchedule()

    def render(self, view: View, now: float) -> None:
        """Print a line if one is due."""
        text = self._schedule.due(view, now)
        if text is not None:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Do nothing: the last line stays."""
