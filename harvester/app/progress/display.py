"""Chooses how progress is shown, and looks at the harvests while they run."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from harvester.app.progress.view import look

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from typing import TextIO

    from harvester.app.progress.view import View, Watched
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
            from harvester.app.progress.bar import BarDisplay  # noqa: PLC0415 - rich costs a tenth of a second

            return BarDisplay(stream)
        from harvester.app.progress.plain import PlainDisplay  # noqa: PLC0415 - one of the two is enough

        return PlainDisplay(stream)

    @asynccontextmanager
    async def display(harvests: Sequence[Watched]) -> AsyncIterator[None]:
        shown = opened()
        if shown is None:
            yield
            return
        watching = asyncio.create_task(_watch(shown, harvests, clock))
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


async def _watch(shown: Shown, harvests: Sequence[Watched], clock: Clock) -> None:
    while True:
        now = clock.monotonic()
        view = look(harvests, now, clock.time())
        try:
            shown.show(view, now)
        except (OSError, ValueError):  # the terminal was closed, the reader has read enough: the harvest goes on
            return
        await clock.sleep(shown.period)
