"""Choice of the progress display, and the task that updates it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol, TextIO

from harvester.clock import Clock
from harvester.console.progress.view import View, Watched, view_of

Display = Callable[[Sequence[Watched]], AbstractAsyncContextManager[None]]

_TERMS_WITHOUT_CURSOR = ("", "dumb", "unknown")  # values of $TERM


class Renderer(Protocol):
    """Something that draws or prints Views."""

    interval: float  # seconds between two Views

    def render(self, view: View, now: float) -> None:
        """Draw or print a View (`now`: monotonic seconds)."""
        ...

    def close(self) -> None:
        """Restore the stream to its former state."""
        ...


def display_for(stream: TextIO, *, quiet: bool, environ: Mapping[str, str], clock: Clock) -> Display:
    """Return a display: a bar on a terminal that can draw one, lines elsewhere, nothing if `quiet`."""

    def opened() -> Renderer | None:
        if quiet:
            return None
        if can_draw(stream, environ):
            from harvester.console.progress.bar import BarRenderer

            return BarRenderer(stream)
        from harvester.console.progress.lines import LineRenderer

        return LineRenderer(stream)

    @asynccontextmanager
    async def display(runs: Sequence[Watched]) -> AsyncIterator[None]:
        renderer = opened()
        if renderer is None:
            yield
            return
        watching = asyncio.create_task(_watch(renderer, runs, clock))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            with suppress(OSError, ValueError):
                renderer.close()
            if not watching.cancelled():
                watching.result()  # raises what a bug in the display raised

    return display


def can_draw(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return True if the stream is a terminal that can move its cursor."""
    return stream.isatty() and environ.get("TERM", "").lower() not in _TERMS_WITHOUT_CURSOR


async def _watch(renderer: Renderer, runs: Sequence[Watched], clock: Clock) -> None:
    while True:
        now = clock.monotonic()
        view = view_of(runs, now, clock.time())
        try:
            renderer.render(view, now)
        except (OSError, ValueError):  # the terminal or the pipe was closed: the work continues without a display
            return
        await clock.sleep(renderer.interval)
