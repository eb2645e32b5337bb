"""The transport against raw bytes over loopback sockets: the result is always an answer or an error of ours."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import ssl
import subprocess
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest

from harvester.errors import ConfigError, Outage, PayloadError, SourceUnavailable
from harvester.source.body import MAX_BODY_BYTES, MAX_DENSE_BODY_BYTES, read_body
from harvester.source.transport import AiohttpTransport, Request
from tests.support.raw_server import RawServer, Script, chunked, cut, gzipped, head, reply, until_close

CANARY = "hunter2-canary"
BODY = b'{"calls":{"1517461200":0}}' * 20


async def get(
    url: str, *, seconds: float = 5.0, headers: Mapping[str, str] | None = None, ca_file: Path | None = None
) -> bytes:
    async with (
        AiohttpTransport(timeout=seconds, ca_file=ca_file) as transport,
        transport.send(Request("GET", url, headers or {})) as response,
    ):
        return await read_body(response)


@pytest.mark.parametrize(
    "script",
    [reply(BODY), chunked(BODY), gzipped(BODY), until_close(BODY)],
    ids=["content-length", "chunked", "gzip", "close-delimited"],
)
async def test_a_whole_body_comes_as_it_was_sent(script: Script) -> None:
    async with RawServer(script) as server:
        assert await get(server.url) == BODY


async def test_gzip_members_may_follow_each_other() -> None:
    packed = gzip.compress(BODY) + gzip.compress(BODY)
    async with RawServer(reply(packed, headers={"Content-Encoding": "gzip"})) as server:
        assert await get(server.url) == BODY + BODY


async def test_an_empty_body_needs_no_gzip_stream() -> None:
    async with RawServer(reply(b"", headers={"Content-Encoding": "gzip"})) as server:
        assert await get(server.url) == b""


@pytest.mark.parametrize(
    ("script", "outage"),
    [
        (cut(reply(BODY), drop=5), Outage.CLOSED),
        (chunked(BODY, finish=False), Outage.CLOSED),
        (gzipped(BODY, keep=-4), Outage.CLOSED),
        (Script(close=True), Outage.CLOSED),
        (Script((b"HTTP/1.1 200 OK\r\nContent-Le",), close=True), Outage.CLOSED),
        (Script((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",), reset=True), Outage.CLOSED),
        (Script(reset=True), Outage.CLOSED),
        (Script(hang=True), Outage.TIMEOUT),
        (Script((head("200 OK", {"Content-Length": "99"}), *[b"x"] * 90), pause=0.05), Outage.TIMEOUT),
        (reply(headers={"X-Long": "x" * 1_000_000}), Outage.NOT_API),
        (Script((b"220 smtp.example.com ESMTP\r\n",), close=True), Outage.NOT_API),
    ],
    ids=[
        "content-length-cut",
        "chunked-cut",
        "gzip-cut-inside-its-framing",
        "closed-at-once",
        "head-cut",
        "reset-in-body",
        "reset-at-once",
        "silence",
        "trickle",
        "huge-header",
        "not-http",
    ],
)
async def test_the_outage_without_a_whole_answer(script: Script, outage: Outage) -> None:
    async with RawServer(script) as server:
        with pytest.raises(SourceUnavailable) as caught:
            await get(server.url, seconds=0.4, headers={"Authorization": CANARY})
        assert caught.value.outage is outage
        assert CANARY not in repr(caught.value) + str(caught.value)
        assert caught.value.__cause__ is None
        assert len(server.requests) == 1


async def test_a_refused_connection_is_reported() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(SourceUnavailable, match=r"cannot connect to 127\.0\.0\.1: Connection refused") as caught:
            await get(url)
    assert caught.value.outage is Outage.CONNECT


async def test_a_name_that_cannot_be_resolved_is_reported() -> None:
    with pytest.raises(SourceUnavailable, match=r"voicetrends\.invalid cannot be resolved") as caught:
        await get("http://voicetrends.invalid/")
    assert caught.value.outage is Outage.CONNECT


async def test_a_server_that_does_not_accept_connections_is_reported() -> None:
    # A full backlog leaves further connections unanswered.
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(server.getsockname())
            with pytest.raises(SourceUnavailable, match="no connection in time") as caught:
                await get(f"http://127.0.0.1:{server.getsockname()[1]}/", seconds=0.4)
        finally:
            for filler in fillers:
                filler.close()
    assert caught.value.outage is Outage.CONNECT


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=test", "-addext", name]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


async def test_nothing_is_sent_to_an_untrusted_certificate(tmp_path: Path) -> None:
    context, _ = certificate(tmp_path, "subjectAltName=IP:127.0.0.1")
    async with RawServer(reply(BODY), tls=context) as server:
        with pytest.raises(SourceUnavailable, match="certificate") as caught:
            await get(server.url)
        assert caught.value.outage is Outage.CONNECT
        assert server.requests == []


async def test_nothing_is_sent_to_a_certificate_for_another_name(tmp_path: Path) -> None:
    context, cert = certificate(tmp_path, "subjectAltName=DNS:other.example")
    async with RawServer(reply(BODY), tls=context) as server:
        with pytest.raises(SourceUnavailable, match="certificate") as caught:
            await get(server.url, ca_file=cert)
        assert caught.value.outage is Outage.CONNECT
        assert server.requests == []


async def test_ca_file_is_trusted(tmp_path: Path) -> None:
    context, cert = certificate(tmp_path, "subjectAltName=IP:127.0.0.1")
    async with RawServer(reply(BODY), tls=context) as server:
        assert await get(server.url, ca_file=cert) == BODY


async def test_a_replaced_ca_file_is_read_again(tmp_path: Path) -> None:
    certificate(tmp_path, "subjectAltName=DNS:old.example")
    AiohttpTransport(ca_file=tmp_path / "cert.pem")
    context, cert = certificate(tmp_path, "subjectAltName=IP:127.0.0.1")
    async with RawServer(reply(BODY), tls=context) as server:
        assert await get(server.url, ca_file=cert) == BODY


def test_a_useless_ca_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        AiohttpTransport(ca_file=tmp_path / "none.pem")
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=r"empty\.pem"):
        AiohttpTransport(ca_file=tmp_path / "empty.pem")


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with RawServer(reply(BODY)) as elsewhere:
        moved = reply(status="302 Found", headers={"Location": elsewhere.url + "/x"})
        async with (
            RawServer(moved) as server,
            AiohttpTransport() as transport,
            transport.send(Request("GET", server.url, {"Authorization": CANARY})) as response,
        ):
            assert response.status == 302
            assert response.headers["location"] == elsewhere.url + "/x"
        assert elsewhere.connections == 0


async def test_connections_are_reused_and_cookies_are_not() -> None:
    async with (
        RawServer(reply(b"{}", headers={"Set-Cookie": "a=b; Path=/"})) as server,
        AiohttpTransport() as transport,
    ):
        for _ in range(3):
            async with transport.send(Request("GET", server.url)) as response:
                assert await read_body(response) == b"{}"
        assert server.connections == 1
        assert len(server.requests) == 3
        assert not any(b"cookie" in request.lower() for request in server.requests)
        assert all(b"User-Agent: voicetrends-harvester/" in request for request in server.requests)


async def test_a_request_on_a_closed_connection_is_not_repeated_by_aiohttp() -> None:
    # The server reads the second request of a reused connection and closes without an answer. aiohttp by itself would
    # repeat a GET, and the server would count three.
    async with RawServer(reply(b"{}"), Script(close=True), reply(b"{}")) as server, AiohttpTransport() as transport:
        async with transport.send(Request("GET", server.url)) as response:
            await read_body(response)
        with pytest.raises(SourceUnavailable) as caught:
            async with transport.send(Request("GET", server.url)) as response:
                await read_body(response)
        assert caught.value.outage is Outage.CLOSED
        assert len(server.requests) == 2
        async with transport.send(Request("GET", server.url)) as response:
            assert await read_body(response) == b"{}"


async def test_proxy_settings_in_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with RawServer(reply(BODY)) as server:
        assert await get(server.url) == BODY


async def test_a_proxy_gets_the_request_and_its_own_login() -> None:
    async with (
        RawServer(reply(BODY)) as proxy,
        AiohttpTransport(proxy=f"http://me:{CANARY}@127.0.0.1:{proxy.port}") as transport,
    ):
        async with transport.send(Request("GET", "http://api.invalid/x")) as response:
            assert await read_body(response) == BODY
        assert proxy.requests[0].startswith(b"GET http://api.invalid/x HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic bWU6aHVudGVyMi1jYW5hcnk=" in proxy.requests[0]


async def test_the_proxys_login_stays_out_of_the_tunnel() -> None:
    async with (
        RawServer(reply(status="403 Forbidden")) as proxy,
        AiohttpTransport(proxy=f"http://me:{CANARY}@127.0.0.1:{proxy.port}") as transport,
    ):
        with pytest.raises(SourceUnavailable, match="proxy") as caught:
            async with transport.send(Request("GET", "https://api.invalid/x", {"Authorization": "Basic secret"})):
                pass
        assert caught.value.outage is Outage.CONNECT
        assert proxy.requests[0].startswith(b"CONNECT api.invalid:443")
        assert b"Basic bWU6aHVudGVyMi1jYW5hcnk=" in proxy.requests[0]
        assert b"secret" not in proxy.requests[0]


async def test_a_proxy_that_is_down_is_named() -> None:
    async with AiohttpTransport(proxy=f"http://me:{CANARY}@127.0.0.1:1") as transport:
        with pytest.raises(SourceUnavailable, match=r"proxy 127\.0\.0\.1") as caught:
            async with transport.send(Request("GET", "http://api.invalid/")):
                pass
    assert caught.value.outage is Outage.CONNECT
    assert CANARY not in str(caught.value)


async def test_a_gzip_bomb_takes_little_memory() -> None:
    bomb = gzip.compress(bytes(8 * MAX_BODY_BYTES))
    assert len(bomb) < MAX_BODY_BYTES / 100
    async with RawServer(reply(bomb, headers={"Content-Encoding": "gzip"})) as server:
        tracemalloc.start()
        try:
            with pytest.raises(PayloadError, match="too large"):
                await get(server.url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 1.5 * MAX_DENSE_BODY_BYTES


async def test_a_large_body_that_is_no_bomb_is_read() -> None:
    large = os.urandom(MAX_DENSE_BODY_BYTES) + bytes(2 * MAX_DENSE_BODY_BYTES)
    packed = reply(gzip.compress(large), headers={"Content-Encoding": "gzip"})
    for script in (packed, reply(large)):
        async with RawServer(script) as server:
            assert await get(server.url) == large


async def test_a_huge_plain_body_is_refused_while_it_is_read() -> None:
    async with RawServer(reply(b" " * (MAX_BODY_BYTES + 1))) as server:
        with pytest.raises(PayloadError, match="too large"):
            await get(server.url)


@pytest.mark.parametrize("headers", [{"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}])
async def test_a_body_in_another_encoding_than_its_header_names_is_refused(headers: dict[str, str]) -> None:
    async with RawServer(reply(BODY, headers=headers)) as server:
        with pytest.raises(PayloadError, match="encoding"):
            await get(server.url)


async def test_cancelling_ends_the_request() -> None:
    async with RawServer(Script(hang=True)) as server:
        task = asyncio.ensure_future(get(server.url))
        await server.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_repeated_headers_are_joined() -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"
    async with (
        RawServer(Script((raw,))) as server,
        AiohttpTransport() as transport,
        transport.send(Request("GET", server.url)) as response,
    ):
        assert response.headers["x-a"] == "1, 2"


def test_no_repr_contains_the_headers_and_body_of_a_request() -> None:
    request = Request("POST", "http://x/auth", {"Authorization": CANARY}, CANARY.encode())
    assert CANARY not in repr(request)
