"""Bounded end of a process after a signal.

Requests in flight have ten seconds (`runner.worker_pool.DRAIN_SECONDS`), then their answers are stored. A database that
does not answer is cut off after `CUT_OFF_SECONDS`. What then still hangs is a call that nothing can end: a look-up of a
name, a disk, a command. A thread would wait for it at the interpreter's exit, so the process leaves without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

CUT_OFF_SECONDS: Final = 12.0  # after the signal
EXIT_SECONDS: Final = 15.0  # after the signal


def exit_at_last(exit_at_once: Callable[[], object]) -> None:
    """Call `exit_at_once`, which ends the process, after `EXIT_SECONDS`, even if the event loop hangs by then."""
    timer = threading.Timer(EXIT_SECONDS, exit_at_once)
    timer.daemon = True
    timer.start()
