"""Logs to stderr: console on a terminal, JSON elsewhere, one event a line, facts as fields.

What happens to slices is told by the runner as events; here each gets its level. Tracebacks hold no local variables:
they may hold a password.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import TYPE_CHECKING, cast

import structlog

if TYPE_CHECKING:
    from typing import TextIO

    from harvester.config import Log
    from harvester.runner.ports import Observer

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_LOUD = {
    "bug": "error",
    "failed": "warning",
    "store_failed": "warning",
    "database_lost": "warning",
    "unreachable": "warning",
    "no_credentials": "warning",
    "waiting_for_account": "info",
    "waiting_for_auth": "info",
    "throttled": "info",
    "reachable": "info",
    "interrupted": "info",
}


class _Stderr(io.TextIOBase):
    """What `sys.stderr` is at each write: a progress bar puts itself in its place."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
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
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(min(max(level, logging.DEBUG), logging.CRITICAL)),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def observer() -> Observer:
    """What the runner tells, as log lines."""
    logger = structlog.get_logger()

    def tell(event: str, /, **facts: object) -> None:
        error = facts.pop("error", None)
        if isinstance(error, BaseException):
            facts["exc_info"] = error
        elif error is not None:
            facts["error"] = error
        shown = {
            name: value if isinstance(value, int | float) or name == "exc_info" else str(value)
            for name, value in facts.items()
        }
        getattr(logger, _LOUD.get(event, "debug"))(event, **shown)

    return tell
