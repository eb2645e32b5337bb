"""What systemd wants to hear from a service (sd_notify(3)), over the socket that it names; without one, nothing.

A datagram each, best effort: a message that cannot be delivered is not worth a daemon's life, and systemd itself acts
on the lack of one. Sending may take `patience` where the manager's queue is full, for READY=1 is sent only once.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

PATIENCE = 0.5  # seconds

_MICRO = 1_000_000
_LONGEST = 20  # digits of a 64-bit number


class Notifier:
    """Tells systemd how the service fares. Never raises.

    Args:
        environ: whose NOTIFY_SOCKET names the socket: a path, or @name for an abstract one.
        patience: seconds that a message may take.
    """

    def __init__(self, environ: Mapping[str, str], *, patience: float = PATIENCE) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._patience = patience
        self._address = "\0" + name[1:] if name.startswith("@") else name if name.startswith("/") else ""

    def ready(self, status: str = "") -> None:
        """The start, or a reload, is done."""
        self._send("READY=1", *_status(status))

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status(status))

    def watchdog(self) -> None:
        """The event loop turns."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """The configuration is being read anew; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str = "") -> None:
        """The drain has begun."""
        self._send("STOPPING=1", *_status(status))

    def _send(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outlet:
                outlet.settimeout(self._patience)
                outlet.connect(self._address)
                outlet.sendall("\n".join(lines).encode(errors="replace"))
        except (OSError, ValueError):  # ValueError: a path that no socket can have
            return


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds between two signs of life, half of what systemd allows; None if it does not wait for any of ours."""
    allowed, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID") or str(pid)
    if not (allowed.isascii() and allowed.isdigit() and len(allowed) <= _LONGEST) or whose != str(pid):
        return None
    return int(allowed) / _MICRO / 2 or None


def _status(text: str) -> tuple[str, ...]:
    """As one line: another one would be read as a message of its own."""
    line = " ".join(text.split())
    return (f"STATUS={line}",) if line else ()
