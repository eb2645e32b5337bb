"""Messages to systemd, on a real datagram socket."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.daemon.sd_notify import Notifier, watchdog_interval


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, name: str) -> None:
        self.environ = {"NOTIFY_SOCKET": name}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.setblocking(False)

    def received(self) -> list[str]:
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self.socket.recv(65536).decode())
        return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@harvester-{secrets.token_hex(8)}"
    if request.param == "abstract" and not hasattr(time, "CLOCK_BOOTTIME"):
        pytest.skip("abstract sockets are Linux's")
    manager = Manager(name)
    yield manager
    manager.socket.close()


def test_the_life_of_a_service(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    notifier.ready("3 accounts")
    notifier.status("12 of 150 requests left")
    notifier.watchdog()
    notifier.stopping()
    assert manager.received() == [
        "READY=1\nSTATUS=3 accounts",
        "STATUS=12 of 150 requests left",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_a_reload_carries_its_time(manager: Manager) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier(manager.environ).reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    (message,) = manager.received()
    first, second = message.split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= after


def test_a_status_stays_one_line(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    notifier.status("waiting\nMAINPID=1\r\n for \ud800 quota")
    notifier.status(" \n ")
    assert manager.received() == ["STATUS=waiting MAINPID=1 for ? quota"]


@pytest.mark.parametrize(
    "name",
    ["", "relative", "vsock:2:1234", "/nowhere/at/all", "@", "/" + "x" * 300, "/a\0b", "/\ud800", "@nobody-there"],
)
def test_a_socket_without_a_listener_is_no_error(name: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("up")
    notifier.watchdog()
    notifier.reloading()
    notifier.stopping()


def test_without_systemd_nothing_is_sent() -> None:
    Notifier({}).ready()


def test_a_manager_that_does_not_read_blocks_only_for_the_timeout(manager: Manager) -> None:
    notifier = Notifier(manager.environ, timeout=0.01)
    sent = 3000  # more than any queue of datagrams holds
    filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with filler, contextlib.suppress(OSError):
        filler.setblocking(False)
        name = manager.environ["NOTIFY_SOCKET"]
        filler.connect("\0" + name[1:] if name.startswith("@") else name)
        for _ in range(sent):
            filler.send(b"FILL=1")
    notifier.watchdog()  # returns
    received = manager.received()
    assert 0 < len(received) < sent
    assert "WATCHDOG=1" not in received


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": ""}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "seven"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
        ({}, None),
    ],
)
def test_the_watchdog_interval_is_half_of_what_systemd_allows(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval(environ, 7) == seconds


@given(st.text(max_size=20), st.text(max_size=10))
def test_any_environment_gives_an_interval_or_none(usec: str, pid: str) -> None:
    interval = watchdog_interval({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}, 7)
    assert interval is None or interval > 0
