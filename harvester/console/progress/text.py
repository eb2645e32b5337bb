"""Progress as text."""

from __future__ import annotations

from harvester.console.progress.view import View
from harvester.console.text import counted, duration

_MAX_NAMED = 3  # held accounts; the others are only counted


def slices(view: View) -> str:
    """Return how many slices are done and failed."""
    text = f"{view.done:,} of {counted(view.planned, 'slice')}"
    return f"{text}, {view.failed:,} failed" if view.failed else text


def work(view: View) -> str:
    """Return how many requests were sent and values received."""
    return f"{counted(view.requests, 'request')}, {counted(view.values, 'value')}"


def pace(view: View) -> str:
    """Return quota and remaining time; "" where neither is known or the run stops."""
    if view.stopping:
        return f"stopping, waiting for {counted(view.in_flight, 'answer')}" if view.in_flight else "stopping"
    parts = []
    if view.until_reset is not None:
        cause = "paused by the API" if view.paused else "quota spent"
        parts.append(f"{cause}, continues in {duration(view.until_reset)}")
    elif view.quota_left is not None:
        parts.append(f"quota {view.quota_left:,} of {view.quota_limit:,} left")
    if view.eta:
        parts.append(f"about {duration(view.eta)} to go")
    return ", ".join(parts)


def holders(view: View) -> str:
    """Return which processes hold accounts that are waited for; "" where none does."""
    words = [f"{account} is held by {holder}" for account, holder in view.held[:_MAX_NAMED]]
    if len(view.held) > _MAX_NAMED:
        words.append(f"{counted(len(view.held) - _MAX_NAMED, 'more account')} held")
    return f"{', '.join(words)}; waiting" if words else ""


def line(view: View) -> str:
    """Return the whole View in one line; "" before there is a plan or a held account."""
    parts = [slices(view), work(view), pace(view)] if view.planned else []
    return "; ".join(part for part in (*parts, holders(view)) if part)
