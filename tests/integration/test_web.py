"""The daemon's endpoints over real sockets, with valid and invalid requests."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from harvester.errors import ConfigError
from harvester.web.endpoints import MAX_CONNECTIONS, Endpoints, Readiness

LOOPBACK = "127.0.0.1"
TEST_TIMEOUT = 5.0  # seconds


@dataclass
class DaemonState:
    """State of a daemon that the endpoints report."""

    healthy: bool = True
    readiness: Readiness = field(default_factory=lambda: Readiness(True, {"ready": True, "paused": {}}))
    metrics: bytes = b'harvester_account_up{account="main"} 1.0\n'
    failing: bool = False

    def read_metrics(self) -> bytes:
        if self.failing:
            raise RuntimeError("a bug in the metrics")
        return self.metrics


@dataclass
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


@asynccontextmanager
async def serving(
    state: DaemonState | None = None, *, host: str = LOOPBACK, **options: Any
) -> AsyncIterator[tuple[str, int]]:
    state = state or DaemonState()
    endpoints = Endpoints(
        healthy=lambda: state.healthy, readiness=lambda: state.readiness, metrics=state.read_metrics, **options
    )
    try:
        yield await endpoints.start((host, 0))
    finally:
        async with asyncio.timeout(TEST_TIMEOUT):
            await endpoints.stop()


async def raw(address: tuple[str, int], request: bytes) -> bytes:
    """Send bytes, and read until the other side closes."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        async with asyncio.timeout(TEST_TIMEOUT):
            return await reader.read()
    finally:
        writer.close()


async def ask(
    address: tuple[str, int], path: str, *, method: str = "GET", host: str | None = "localhost", more: str = ""
) -> Answer:
    name = f"Host: {host}\r\n" if host is not None else ""
    answer = await raw(address, f"{method} {path} HTTP/1.1\r\n{name}{more}\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


async def test_health() -> None:
    state = DaemonState()
    async with serving(state) as address:
        assert (await ask(address, "/healthz")).status == 200
        state.healthy = False
        assert (await ask(address, "/healthz")).status == 503


async def test_readiness_names_paused_accounts_and_reasons() -> None:
    state = DaemonState()
    async with serving(state) as address:
        assert (await ask(address, "/readyz")).status == 200
        body = {"ready": False, "paused": {"main": "the API refuses the credentials — 401"}}
        state.readiness = Readiness(ready=False, body=body)
        answer = await ask(address, "/readyz")
        assert answer.status == 503
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body) == body


async def test_metrics_have_the_content_type_of_prometheus() -> None:
    async with serving() as address:
        answer = await ask(address, "/metrics?whatever=1")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.body == DaemonState().metrics


async def test_the_root_lists_the_paths() -> None:
    async with serving() as address:
        assert (await ask(address, "/")).body == b"/healthz /readyz /metrics\n"


@pytest.mark.parametrize(
    "path", ["/healthz/", "/healthz/x", "/favicon.ico", "/status", "//healthz", "/../etc/passwd", "/HEALTHZ"]
)
async def test_other_paths_are_not_found(path: str) -> None:
    async with serving() as address:
        assert (await ask(address, path)).status == 404


async def test_head_is_get_without_the_body() -> None:
    async with serving() as address:
        answer = await ask(address, "/metrics", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) == len(DaemonState().metrics)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_only_reading_is_allowed(method: str) -> None:
    async with serving() as address:
        answer = await ask(address, "/healthz", method=method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


async def test_an_http_1_0_probe_needs_no_host() -> None:
    async with serving() as address:
        for head in (b"GET /healthz HTTP/1.0", b"GET /readyz HTTP/1.0\r\nConnection: close"):
            assert (await raw(address, head + b"\r\n\r\n")).split()[1] == b"200"
        unknown = await raw(address, b"GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n")
        assert unknown.split()[1] == b"421"


@pytest.mark.parametrize(
    "request_",
    [b"GET", b"GET /healthz HTTP/9.9", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nbad header", b"\0 / HTTP/1.1"],
)
async def test_an_error_page_names_no_library(request_: bytes) -> None:
    async with serving() as address:
        answer = await raw(address, request_ + b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), answer
    assert b"Server: harvester\r\n" in answer
    assert not re.search(rb"aiohttp|python|/[0-9]\.[0-9]+\.", answer, re.IGNORECASE), answer
    assert answer.endswith(b"\r\n\r\nBad Request\n")


async def test_an_answer_names_no_version_and_is_not_cached() -> None:
    async with serving() as address:
        headers = (await ask(address, "/healthz")).headers
    assert headers["server"] == "harvester"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8150", "10.1.2.3", "", None])
@pytest.mark.parametrize("path", ["/", "/metrics", "/nothing"])
async def test_an_unknown_host_is_refused(host: str | None, path: str) -> None:
    async with serving(allowed_hosts=("metrics.example.com",)) as address:
        answer = await ask(address, path, host=host)
    assert answer.status in {400, 421}
    assert b"harvester_" not in answer.body


async def test_two_hosts_are_refused() -> None:
    async with serving() as address:
        answer = await ask(address, "/metrics", more="Host: evil.example\r\n")
    assert answer.status in {400, 421}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8150", "[::1]:80", "Metrics.Example.com"])
async def test_an_allowed_host_gets_an_answer(host: str) -> None:
    async with serving(allowed_hosts=("metrics.example.com",)) as address:
        assert (await ask(address, "/metrics", host=host)).status == 200


async def test_with_a_wildcard_address_the_one_of_the_connection_is_allowed() -> None:
    async with serving(host="0.0.0.0") as (_, port):  # noqa: S104 - for a moment
        assert (await ask((LOOPBACK, port), "/metrics", host=f"{LOOPBACK}:{port}")).status == 200
        assert (await ask((LOOPBACK, port), "/metrics", host=f"10.1.2.3:{port}")).status == 421


async def test_ipv6() -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    async with serving(host="::1") as address:
        assert address[0] == "::1"
        assert (await ask(address, "/healthz", host=f"[::1]:{address[1]}")).status == 200


async def test_a_port_in_use_is_reported_with_its_setting() -> None:
    async with serving() as (host, port):
        second = Endpoints(healthy=bool, readiness=lambda: Readiness(True, {}), metrics=bytes)
        with pytest.raises(ConfigError, match=rf"daemon\.listen 127\.0\.0\.1:{port}: another program listens on it"):
            await second.start((host, port))
        await second.stop()


@pytest.mark.parametrize(
    ("address", "text"),
    [(("192.0.2.1", 0), "daemon.listen 192.0.2.1:0: "), (("2001:db8::1", 1), "daemon.listen [2001:db8::1]:1: ")],
)
async def test_an_address_of_another_machine_is_reported_with_its_setting(address: tuple[str, int], text: str) -> None:
    endpoints = Endpoints(healthy=bool, readiness=lambda: Readiness(True, {}), metrics=bytes)
    with pytest.raises(ConfigError) as caught:
        await endpoints.start(address)
    assert str(caught.value).startswith(text)


async def test_a_port_can_be_used_again_at_once() -> None:
    endpoints = Endpoints(healthy=lambda: True, readiness=lambda: Readiness(True, {}), metrics=bytes)
    address = await endpoints.start((LOOPBACK, 0))
    assert (await ask(address, "/healthz")).status == 200
    await endpoints.stop()
    assert await endpoints.start(address) == address
    assert (await ask(address, "/healthz")).status == 200
    await endpoints.stop()
    await endpoints.stop()


async def test_open_connections_do_not_delay_stop() -> None:
    fragments = [b"", b"GET /hea", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", _post(b"x" * 10)]
    async with asyncio.timeout(TEST_TIMEOUT):
        async with serving(connection_timeout=3600) as address:
            connections = [await asyncio.open_connection(*address) for _ in fragments]
            for (_, writer), fragment in zip(connections, fragments, strict=True):
                writer.write(fragment)
                await writer.drain()
            assert (await ask(address, "/healthz")).status == 200
        for reader, writer in connections:
            await _until_closed(reader)
            writer.close()


async def test_a_slow_request_is_closed() -> None:
    async with serving(connection_timeout=0.1) as address:
        for fragment in (b"", b"GET /healthz HTTP/1.1\r\nHost: loc"):
            assert await raw(address, fragment) == b""


async def test_a_flood_of_idle_connections_is_bounded_and_does_not_keep_others_out() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number is enough
    async with serving(connection_timeout=3600) as address:
        flood = [await asyncio.open_connection(*address) for _ in range(3 * MAX_CONNECTIONS)]
        assert (await ask(address, "/healthz")).status == 200
        assert len(os.listdir("/proc/self/fd")) - before <= len(flood) + MAX_CONNECTIONS + 5  # noqa: PTH208 - as above
        for reader, _ in flood[: 2 * MAX_CONNECTIONS]:
            await _until_closed(reader)
        for _, writer in flood:
            writer.close()
        await asyncio.sleep(0)
        assert (await ask(address, "/healthz")).status == 200


async def test_a_client_that_does_not_read_is_closed() -> None:
    state = DaemonState(metrics=b"#" * 30_000_000)
    async with serving(state, connection_timeout=0.1) as address:
        with socket.socket() as peer:
            peer.setblocking(False)
            await asyncio.get_running_loop().sock_connect(peer, address)
            await asyncio.get_running_loop().sock_sendall(peer, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asyncio.sleep(0.4)
            received = await _read_all(peer)
        assert 0 < received < len(state.metrics)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: 1\r\n" * 10_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and no HTTP\r\n\r\n",
    ],
    ids=["path", "header", "headers", "tls"],
)
async def test_an_invalid_request_gets_a_400_and_no_line_in_the_log(
    request_: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving() as address:
            answer = await _raw_or_reset(address, request_)
            assert not answer or answer.split()[1] == b"400"
            assert not re.search(rb"aiohttp|python|<|x{20}", answer, re.IGNORECASE)
            assert (await ask(address, "/healthz")).status == 200
    assert not [record for record in caplog.records if record.name.startswith(("aiohttp", "harvester"))]
    assert capfd.readouterr() == ("", "")


async def test_a_huge_body_is_not_read() -> None:
    async with serving() as address:
        answer = await raw(address, _post(b"", length=10**12))
        assert answer.startswith(b"HTTP/1.1 405 ")
        chunked = "POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await raw(address, chunked.encode())).startswith(b"HTTP/1.1 405 ")


async def test_a_failing_endpoint_is_logged_once_and_does_not_affect_the_others() -> None:
    emitted: list[tuple[str, Mapping[str, object]]] = []
    state = DaemonState(failing=True)
    async with serving(state, emit=_record_in(emitted)) as address:
        for _ in range(3):
            assert (await ask(address, "/metrics")).status == 500
        assert (await ask(address, "/healthz")).status == 200
        assert [(event, facts["path"]) for event, facts in emitted] == [("bug", "/metrics")]
        state.failing = False
        assert (await ask(address, "/metrics")).status == 200
        state.failing = True
        assert b"in the metrics" not in (await ask(address, "/metrics")).body
        assert len(emitted) == 2


def _record_in(emitted: list[tuple[str, Mapping[str, object]]]) -> Callable[..., None]:
    def emit(event: str, /, **facts: object) -> None:
        emitted.append((event, facts))

    return emit


def _post(body: bytes, *, length: int = 1000) -> bytes:
    return f"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode() + body


async def _until_closed(reader: asyncio.StreamReader) -> None:
    try:
        await reader.read()
    except ConnectionError:
        return


async def _raw_or_reset(address: tuple[str, int], request: bytes) -> bytes:
    try:
        return await raw(address, request)
    except ConnectionError:  # closed while we were still sending
        return b""


async def _read_all(peer: socket.socket) -> int:
    received = 0
    try:
        async with asyncio.timeout(TEST_TIMEOUT):
            while piece := await asyncio.get_running_loop().sock_recv(peer, 1 << 20):
                received += len(piece)
    except ConnectionError:
        pass
    return received


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True
