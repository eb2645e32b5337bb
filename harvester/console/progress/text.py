"""A View in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harvester.console.text import counted, duration

if TYPE_CHECKING:
    from harvester.console.progress.view import View

_NAMED = 3  # accounts; of more only the number is told


def slices(view: View) -> str:
    """How much is done."""
    text = f"{view.done:,} of {counted(view.planned, 'slice')}"
    return f"{text}, {view.failed:,} failed" if view.failed else text


def work(view: View) -> str:
    """How much was asked for, and what came."""
    return f"{counted(view.requests, 'request')}, {counted(view.values, 'value')}"


def pace(view: View) -> str:
    """Quota and time; "" where neither is known or matters any more."""
    if view.stopping:
        return f"stopping, {counted(view.in_flight, 'answer')} to come" if view.in_flight else "stopping"
    parts = []
    if view.until_reset is not None:
        parts.append(f"quota spent, goes on in {duration(view.until_reset)}")
    elif view.quota_left is not None:
        parts.append(f"quota {view.quota_left:,} of {view.quota_limit:,} left")
    if view.to_go:
        parts.append(f"about {duration(view.to_go)} to go")
    return ", ".join(parts)


def holders(view: View) -> str:
    """Who is in the way; "" where nobody is."""
    words = [f"{account} is held by {holder}" for account, holder in view.held[:_NAMED]]
    if len(view.held) > _NAMED:
        words.append(f"{len(view.held) - _NAMED} more are held")
    return f"{', '.join(words)}; waiting" if words else ""


def line(view: View) -> str:
    """Everything in one line; "" where there is nothing worth saying."""
    parts = [slices(view), work(view), pace(view)] if view.planned else []
    return "; ".join(part for part in (*parts, holders(view)) if part)
