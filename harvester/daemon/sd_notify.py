"""Client of systemd's notification protocol (sd_notify(3)); without NOTIFY_SOCKET it sends nothing.

Each message is one datagram, sent with best effort: an undeliverable one must not end the daemon, and systemd itself
acts on a missing one. Where the manager's queue is full, sending may take `timeout`, since READY=1 is sent only once.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

SEND_TIMEOUT_SECONDS = 0.5

_MICROSECONDS = 1_000_000  # per second
_MAX_DIGITS = 20  # of a 64-bit number


class Notifier:
    """Reports the state of the service to systemd. Never raises.

    Args:
        environ: its NOTIFY_SOCKET names the socket: a path, or @name for an abstract one.
        timeout: seconds that sending one message may take.
    """

    def __init__(self, environ: Mapping[str, str], *, timeout: float = SEND_TIMEOUT_SECONDS) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._timeout = timeout
        self._address = "\0" + name[1:] if name.startswith("@") else name if name.startswith("/") else ""

    def ready(self, status: str = "") -> None:
        """Report that the start or a reload is complete."""
        self._send("READY=1", *_status(status))

    def status(self, status: str) -> None:
        """Send the line for `systemctl status`."""
        self._send(*_status(status))

    def watchdog(self) -> None:
        """Report that the event loop runs."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Report that the configuration is being reloaded, until `ready` is called."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str = "") -> None:
        """Report that the service is stopping."""
        self._send("STOPPING=1", *_status(status))

    def _send(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(self._timeout)
                sender.connect(self._address)
                sender.sendall("\n".join(lines).encode(errors="replace"))
        except (OSError, ValueError):  # ValueError: an impossible path
            return


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the seconds between two watchdog messages, half of what systemd allows; None if it expects none."""
    allowed, watched_pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID") or str(pid)
    if not (allowed.isascii() and allowed.isdigit() and len(allowed) <= _MAX_DIGITS) or watched_pid != str(pid):
        return None
    return int(allowed) / _MICROSECONDS / 2 or None


def _status(text: str) -> tuple[str, ...]:
    """Return the status field in one line: systemd would read a second line as another field."""
    line = " ".join(text.split())
    return (f"STATUS={line}",) if line else ()
