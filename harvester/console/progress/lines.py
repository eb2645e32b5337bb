"""Lines for a stream that is no terminal: a log file, a pipe, cron's mail. Few, and each worth its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from harvester.console.progress.text import line

if TYPE_CHECKING:
    from harvester.console.progress.view import View

BUSY = 5.0  # seconds between two lines
IDLE = 30.0  # the same while nothing happens but waiting, once that was said


class Lines:
    """Says a View in a line where one is due: at once when there is something to say, then every few seconds."""

    def __init__(self) -> None:
        self._said_at: float | None = None
        self._said_idle = False

    def due(self, view: View, now: float) -> str | None:
        """The line to print now, or None (`now`: monotonic seconds)."""
        pause = IDLE if view.idle and self._said_idle else BUSY
        if self._said_at is not None and now - self._said_at < pause:
            return None
        text = line(view)
        if not text:
            return None
        self._said_at, self._said_idle = now, view.idle
        return text


class PlainDisplay:
    """Prints those lines."""

    period = 0.25  # seconds between two looks

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines = Lines()

    def show(self, view: View, now: float) -> None:
        """Print a line if one is due."""
        text = self._lines.due(view, now)
        if text is not None:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is left open."""
