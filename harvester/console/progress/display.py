"""Chooses how progress is shown, and looks at the harvests while they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TextIO

from harvester.console.progress.view import View, Watched, look

if TYPE_CHECKING:
    from harvester.clock import Clock

Display = Callable[[Sequence[Watched]], AbstractAsyncContextManager[None]]

_DUMB = ("", "dumb", "unknown")


class Shown(Protocol):
    """Something that shows Views."""

    period: float  # seconds between two looks

    def show(self, view: View, now: float) -> None:
        """Show this one (`now`: monotonic seconds)."""
        ...

    def close(self) -> None:
        """Leave the stream as it was."""
        ...


def display_for(stream: TextIO, *, quiet: bool, environ: Mapping[str, str], clock: Clock) -> Display:
    """A bar on a terminal that can draw one, plain lines elsewhere, nothing at all if `quiet`."""

    def opened() -> Shown | None:
        if quiet:
            return None
        if can_draw(stream, environ):
            from harvester.console.progress.bar import BarDisplay

            return BarDisplay(stream)
        from harvester.console.progress.lines import PlainDisplay

        return PlainDisplay(stream)

    @asynccontextmanager
    async def display(runs: Sequence[Watched]) -> AsyncIterator[None]:
        shown = opened()
        if shown is None:
            yield
            return
        watching = asyncio.create_task(_watch(shown, runs, clock))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            with suppress(OSError, ValueError):
                shown.close()
            if not watching.cancelled():
                watching.result()  # a bug is not kept quiet

    return display


def can_draw(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether the stream is a terminal that can move its cursor."""
    return stream.isatty() and environ.get("TERM", "").lower() not in _DUMB


async def _watch(shown: Shown, runs: Sequence[Watched], clock: Clock) -> None:
    while True:
        now = clock.monotonic()
        view = look(runs, now, clock.time())
        try:
            shown.show(view, now)
        except (OSError, ValueError):  # the terminal was closed, the reader has read enough: the harvest goes on
            return
        await clock.sleep(shown.period)
