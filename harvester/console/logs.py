"""Logs to stderr: console format on a terminal, JSON elsewhere; one event per line, its facts as fields.

The rest of the program emits events (harvester.events) and knows no logger; the level of each event is applied here.
Tracebacks hold no local variables, since these may hold a password.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, is_dataclass
from typing import TextIO, cast

import structlog

from harvester.config import Log
from harvester.core.model import Slice
from harvester.events import Event, Level
from harvester.runner.ports import Observer

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}

REPEAT_SECONDS = 60.0  # between two lines about the same problem
FORGET_SECONDS = 3600.0  # after the last line about a problem
MAX_PROBLEMS = 10_000  # remembered at a time
_NEVER_SUPPRESSED = (Event.RELOAD_FAILED, Event.RESTART_NEEDED)  # responses to SIGHUP: its sender waits for each


class _Stderr(io.TextIOBase):
    """Stream that writes to the present `sys.stderr`, which a progress bar replaces while it is drawn."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # the reader has gone; the work continues
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def set_up(log: Log, *, verbose: int, quiet: int) -> None:
    """Send logs to stderr, in the configured format and at the configured level shifted by -v and -q."""
    out = cast("TextIO", _Stderr())
    level = _LEVELS[log.level] - 10 * verbose + 10 * quiet
    console = log.format == "console" or (log.format == "auto" and out.isatty())
    renderer: structlog.typing.Processor
    if console:
        colours = out.isatty() and not os.environ.get("NO_COLOR")
        renderer = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
        stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S%z", utc=False)
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


class LibraryHandler(logging.Handler):
    """Handler of the standard library's log that turns the records of other packages into events.

    Without it they would go to stderr in a format of their own, and as often as their packages write them: asyncio does
    so for each connection that it cannot accept.
    """

    def __init__(self, emit: Observer) -> None:
        super().__init__(logging.WARNING)
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        error = record.exc_info[1] if record.exc_info else None
        first_line = (record.getMessage().splitlines() or [""])[0]
        if error is None or isinstance(error, OSError):
            reason = "" if error is None else f": {error.strerror or type(error).__name__}"
            self._emit(Event.LIBRARY, logger=record.name, error=f"{first_line}{reason}")
        else:
            self._emit(Event.LIBRARY, logger=record.name, message=first_line, error=error)


def take_over_libraries(emit: Observer) -> None:
    """Pass what other packages log to `emit`, which should limit its rate."""
    logging.getLogger().addHandler(LibraryHandler(emit))


def in_journal(environ: Mapping[str, str]) -> bool:
    """Return True if stderr is systemd's journal: JOURNAL_STREAM then names its device and inode."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _prioritized(renderer: structlog.typing.Processor) -> structlog.typing.Processor:
    """Return the renderer with the journal's priority prefixed to each line (sd-daemon(3))."""

    def rendered(logger: object, name: str, event: structlog.typing.EventDict) -> str:
        priority = _PRIORITIES.get(event["level"], 6)
        lines = str(renderer(logger, name, event)).splitlines() or [""]
        return "\n".join(f"<{priority}>{line}" for line in lines)

    return rendered


def observer() -> Observer:
    """Return an Observer that writes each event as a log line."""
    logger = structlog.get_logger().bind()  # with the present configuration: an unbound one looks it up per line

    def emit(event: Event, /, **facts: object) -> None:
        if not logger.is_enabled_for(_LEVELS[event.level]):  # most events are at debug level, one per answer
            return
        error = facts.pop("error", None)
        if isinstance(error, BaseException):
            facts["exc_info"] = error
        elif error is not None:
            facts["error"] = error
        fields = {name: value if name == "exc_info" else _field(value) for name, value in facts.items()}
        getattr(logger, event.level)(event.value, **fields)

    return emit


def _field(value: object) -> object:
    """Return a fact as a log field: numbers and counts unchanged, everything else as text."""
    if is_dataclass(value) and not isinstance(value, type) and not isinstance(value, Slice):
        return asdict(value)
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    return value if isinstance(value, int | float) else str(value)


@dataclass(slots=True)
class _Problem:
    logged_at: float  # monotonic seconds
    suppressed: int = 0  # lines left out since


class RateLimitedLogger:
    """Observer that logs the same problem at most once a minute.

    A problem is a warning or an error about one slice of one account, or, where the event has no slice, with one type
    of error. Its next line carries as `suppressed` how many were left out since the last one. Other events, and the
    responses to SIGHUP, are always logged.

    Memory is bounded, since a daemon runs for years: a problem is forgotten an hour after its last line, and the oldest
    one where there would be more than MAX_PROBLEMS.

    Args:
        emit: writes the lines that are left.
        now: monotonic seconds.
    """

    def __init__(self, emit: Observer, now: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._now = now
        self._problems: dict[tuple[object, ...], _Problem] = {}  # in order of `logged_at`

    def __call__(self, event: Event, /, **facts: object) -> None:
        """See runner.ports.Observer."""
        if event in _NEVER_SUPPRESSED or event.level not in (Level.WARNING, Level.ERROR):
            self._emit(event, **facts)
            return
        now = self._now()
        self._forget(now)
        key = (event, facts.get("account"), facts.get("slice", type(facts.get("error"))))
        problem = self._problems.get(key)
        if problem is not None and now - problem.logged_at < REPEAT_SECONDS:
            problem.suppressed += 1
            return
        self._problems.pop(key, None)  # to be added at the end
        self._problems[key] = _Problem(now)
        if problem is not None and problem.suppressed:
            facts["suppressed"] = problem.suppressed
        self._emit(event, **facts)

    def _forget(self, now: float) -> None:
        while self._problems:
            key, oldest = next(iter(self._problems.items()))
            if len(self._problems) < MAX_PROBLEMS and now - oldest.logged_at < FORGET_SECONDS:
                return
            del self._problems[key]
