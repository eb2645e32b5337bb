"""The daemon as a process: its datagrams to systemd, endpoints, signals and log lines."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from harvester.core.period import Calendar, Period
from tests.support.process import Installation, Running
from tests.support.truth import Wanted, stored_rows

SETTLE_DAYS = 3  # the default
NEVER = "0 0 29 2 *"  # a refresh that happens during no test, except in one night of four years
EVERY_MINUTE = "* * * * *"
TIMEOUT_SECONDS = 60.0  # for any condition that a test waits for
A_TICK = 75.0  # seconds within which a tick of EVERY_MINUTE has come and its round has ended
_POLL_SECONDS = 0.02
_ENDPOINT_SECONDS = 5.0  # within which an endpoint answers
_LABELS = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_HALF_A_DAY = 12


def calendar_at_noon() -> Calendar:
    """A zone without daylight saving in which it is about noon, so that no midnight falls into a test."""
    hours = datetime.now(UTC).hour - _HALF_A_DAY  # with POSIX's sign: the hours to add for UTC
    return Calendar(ZoneInfo(f"Etc/GMT{hours:+d}" if hours else "Etc/GMT"))


def today(calendar: Calendar) -> date:
    """The current local day."""
    return calendar.local_date(time.time())


class Manager:
    """The service manager's end of NOTIFY_SOCKET: records every message and its time.

    Args:
        name: a path, or @name for an abstract socket; by default a fresh abstract one.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"@harvester-{secrets.token_hex(8)}"
        self.messages: list[tuple[float, dict[str, str]]] = []  # monotonic seconds, fields
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.name[1:] if self.name.startswith("@") else self.name)
        self._socket.settimeout(0.05)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="manager", daemon=True)
        self._thread.start()

    def moments(self, field: str) -> list[float]:
        """Times of the messages with this line, for example "READY=1", or with this field."""
        name, _, value = field.partition("=")
        return [at for at, fields in self.messages if name in fields and (not value or fields[name] == value)]

    def last(self, name: str) -> str:
        """The newest value of a field."""
        return next((fields[name] for _, fields in reversed(self.messages) if name in fields), "")

    def close(self) -> None:
        self._closing.set()
        self._thread.join(_ENDPOINT_SECONDS)
        self._socket.close()

    def _listen(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                text = self._socket.recv(65536).decode()
                fields = dict(line.partition("=")[::2] for line in text.splitlines())
                self.messages.append((time.monotonic(), fields))


class Daemon:
    """A running `harvester run`."""

    def __init__(self, running: Running, manager: Manager) -> None:
        self.running = running
        self.manager = manager

    @property
    def pid(self) -> int:
        return self.running.pid

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The lines of its log, all or those of one event."""
        lines = self.running.err.splitlines(keepends=True)
        # The last line may be incomplete; a warning about the configuration is not JSON.
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        return [event for event in found if name is None or event["event"] == name]

    @property
    def address(self) -> tuple[str, int]:
        """Where its endpoints listen."""
        self.until(lambda: bool(self.events("ready")))
        host, _, port = self.events("ready")[0]["listen"].rpartition(":")
        return host, int(port)

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Status and body of an endpoint's answer."""
        connection = http.client.HTTPConnection(*self.address, timeout=_ENDPOINT_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Status and body of /readyz."""
        status, body = self.ask("/readyz")
        return status, json.loads(body)

    def states(self) -> dict[str, str]:
        """The states in /readyz by account."""
        return {account["name"]: account["state"] for account in self.readiness()[1]["accounts"]}

    def reason(self, account: str = "main") -> str:
        """The reason for an account's state in /readyz."""
        found = {each["name"]: each["reason"] for each in self.readiness()[1]["accounts"]}
        return found[account] or ""

    def metric(self, name: str, **labels: str) -> float | None:
        """One sample of /metrics; None if it is not there."""
        for line in self.ask("/metrics")[1].splitlines():
            shown, _, value = line.rpartition(" ")
            title, _, rest = shown.partition("{")
            if title == name and dict(_LABELS.findall(rest)) == labels:
                return float(value)
        return None

    def until(self, condition: Callable[[], bool], within: float = TIMEOUT_SECONDS) -> None:
        """Wait for a condition; the daemon must not end before it holds."""
        deadline = time.monotonic() + within
        while not condition():
            assert not self.running.has_ended, self.running.err
            assert time.monotonic() < deadline, f"timed out: {self.running.err}"
            time.sleep(_POLL_SECONDS)

    def until_idle(self) -> None:
        """Wait until every account is complete and fresh."""
        self.until(lambda: set(self.states().values()) == {"idle"})

    def until_state(self, state: str, account: str = "main") -> None:
        self.until(lambda: self.states().get(account) == state)


@contextmanager
def daemon(
    harvester: Installation, *arguments: str, manager: Manager | None = None, wait: bool = True, **environ: str
) -> Iterator[Daemon]:
    """Start `harvester run` and wait until it is ready; kill it at the end if it still runs.

    Args:
        harvester: where its configuration is.
        arguments: more of them.
        manager: receives its notifications.
        wait: until it says READY=1.
        environ: more of it.
    """
    own = manager or Manager()
    try:
        with harvester.started("run", *arguments, NOTIFY_SOCKET=own.name, **environ) as running:
            found = Daemon(running, own)
            if wait:
                found.until(lambda: bool(own.moments("READY=1")))
            yield found
    finally:
        own.close()


def prepared(harvester: Installation, **settings: Any) -> Installation:
    """The installation with settings for the daemon: any free port, and no ticks by default."""
    harvester.configure("daemon", **{"listen": "127.0.0.1:0", "refresh": NEVER, **settings})
    return harvester


def account_of(calendar: Calendar, days: int, **settings: Any) -> dict[str, Any]:
    """The table of an account in the zone of `calendar` that starts `days` days before today."""
    start = today(calendar) - timedelta(days=days)
    return {"timezone": calendar.zone.key, "start": start.isoformat(), **settings}


def past_of(calendar: Calendar, days: int) -> tuple[date, date]:
    """The range from `days` days ago to yesterday."""
    now = today(calendar)
    return now - timedelta(days=days), now - timedelta(days=1)


def assert_complete(url: str, *wanted: Wanted) -> None:
    """Assert that every past day is correct, complete and, after `settle_days`, final; and that today is not complete.

    Args:
        url: of the database.
        wanted: series of days, from the start to yesterday.
    """
    stored = stored_rows(url)
    for one in wanted:
        assert one.periods == (Period.DAY,), "weeks and months have other ends"
        calendar = one.world.calendar
        final_before = (today(calendar) - timedelta(days=SETTLE_DAYS)).isoformat()
        expected = {(*row[:-1], row[6] < final_before) for row in one.rows()}
        ours = {row for row in stored if row[0] == one.account}
        present = today(calendar).isoformat()
        past = {row for row in ours if row[6] != present}
        assert not expected - past, f"{len(expected - past)} rows are missing, such as {min(expected - past)}"
        assert not past - expected, f"{len(past - expected)} rows too many, such as {min(past - expected)}"
        now = {row for row in ours if row[6] == present}
        assert {row[2] for row in now} == set(one.phones), "a phone lacks today"
        assert not any(row[9] or row[10] for row in now), "today is taken for complete"
    assert max(stored.values()) == 1
