"""Logs to stderr: console on a terminal, JSON elsewhere, one event a line, facts as fields.

What happens to slices is told by the runner as events; here each gets its level. Tracebacks hold no local variables:
they may hold a password.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, TextIO, cast

import structlog

from harvester.core.model import Slice
from harvester.events import Event, Level

if TYPE_CHECKING:
    from harvester.config import Log
    from harvester.runner.ports import Observer

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}


SELDOM = 60.0  # seconds between two lines about the same trouble
_ANSWERS = (Event.RELOAD_FAILED, Event.RESTART_NEEDED)  # to a signal, so somebody waits for each


class _Stderr(io.TextIOBase):
    """What `sys.stderr` is at each write: a progress bar puts itself in its place."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # whoever read it has gone; the work goes on
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def set_up(log: Log, *, verbose: int, quiet: int) -> None:
    """Send logs to stderr, as configured and as -v and -q say."""
    out = cast("TextIO", _Stderr())
    level = _LEVELS[log.level] - 10 * verbose + 10 * quiet
    console = log.format == "console" or (log.format == "auto" and out.isatty())
    renderer: structlog.typing.Processor
    if console:
        colours = out.isatty() and not os.environ.get("NO_COLOR")
        renderer = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
        stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
    else:
        renderer = structlog.processors.JSONRenderer(default=str)
        stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            stamp,
            *(() if console else (structlog.processors.format_exc_info,)),
            _prioritized(renderer) if in_journal(os.environ) else renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(min(max(level, logging.DEBUG), logging.CRITICAL)),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def in_journal(environ: Mapping[str, str]) -> bool:
    """Whether stderr is systemd's journal: then JOURNAL_STREAM names its device and inode."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _prioritized(renderer: structlog.typing.Processor) -> structlog.typing.Processor:
    """Each line with the priority that the journal files it under (sd-daemon(3))."""

    def rendered(logger: object, name: str, event: structlog.typing.EventDict) -> str:
        priority = _PRIORITIES.get(event["level"], 6)
        lines = str(renderer(logger, name, event)).splitlines() or [""]
        return "\n".join(f"<{priority}>{line}" for line in lines)

    return rendered


def observer() -> Observer:
    """What the runner tells, as log lines."""
    logger = structlog.get_logger().bind()  # as configured now: the lazy one asks again for each line

    def emit(event: Event, /, **facts: object) -> None:
        if not logger.is_enabled_for(_LEVELS[event.level]):  # every answer is told of, and hardly anybody listens
            return
        error = facts.pop("error", None)
        if isinstance(error, BaseException):
            facts["exc_info"] = error
        elif error is not None:
            facts["error"] = error
        shown = {name: value if name == "exc_info" else _plain(value) for name, value in facts.items()}
        getattr(logger, event.level)(event.value, **shown)

    return emit


def _plain(value: object) -> object:
    """Numbers and counts as they are, everything else in its own words."""
    if is_dataclass(value) and not isinstance(value, type) and not isinstance(value, Slice):
        return asdict(value)
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    return value if isinstance(value, int | float) else str(value)


class RateLimitedLogger:
    """Passes on at most one line a minute about the same trouble of the same account.

    Args:
        tell: is told the rest, and how many like it were left out before.
        now: monotonic seconds.
    """

    def __init__(self, emit: Observer, now: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._now = now
        self._told: dict[tuple[Event, object], float] = {}
        self._kept: Counter[tuple[Event, object]] = Counter()

    def __call__(self, event: Event, /, **facts: object) -> None:
        """See runner.ports.Observer."""
        if event in _ANSWERS or event.level not in (Level.WARNING, Level.ERROR):
            self._emit(event, **facts)
            return
        key, now = (event, facts.get("account")), self._now()
        last = self._told.get(key)
        if last is not None and now - last < SELDOM:
            self._kept[key] += 1
            return
        self._told[key] = now
        more = self._kept.pop(key, 0)
        self._emit(event, **facts, **({"like_it_before": more} if more else {}))
