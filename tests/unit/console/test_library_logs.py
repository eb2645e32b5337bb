from __future__ import annotations

import errno
import logging
import os
from typing import Any

from harvester.console.logs import LibraryHandler
from harvester.events import Event


def test_a_record_of_a_library_becomes_an_event() -> None:
    events: list[tuple[Event, dict[str, Any]]] = []

    def emit(event: Event, /, **facts: object) -> None:
        events.append((event, facts))

    logger = logging.getLogger("tests.library")
    handler = LibraryHandler(emit)
    logger.addHandler(handler)
    logger.info("ordinary")
    logger.warning("slow %s\nmore", "callback")
    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    logger.error("socket.accept() out of system resource\nsocket: ...", exc_info=error)
    bug = ZeroDivisionError("1/0")
    logger.error("Task exception was never retrieved\nfuture: ...", exc_info=bug)
    logger.removeHandler(handler)
    assert events == [
        (Event.LIBRARY, {"logger": "tests.library", "error": "slow callback"}),
        (
            Event.LIBRARY,
            {"logger": "tests.library", "error": "socket.accept() out of system resource: Too many open files"},
        ),
        (Event.LIBRARY, {"logger": "tests.library", "message": "Task exception was never retrieved", "error": bug}),
    ]
