"""Wrong and hostile servers, used by the whole harvester: it sends them nothing, and reports them.

Certificates that are self-signed, of another host or expired; a server without TLS behind an https URL; an unknown
name; redirects to another host; decompression bombs.
"""

from __future__ import annotations

import gzip
import json
import shutil
import ssl
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harvester.source.body import MAX_DENSE_BODY_BYTES
from harvester.source.transport import AiohttpTransport, Request
from tests.support.fault_proxy import proxied
from tests.support.in_thread import in_thread
from tests.support.process import PATIENCE, Ended, Installation, Running, configuration
from tests.support.raw_server import RawServer, Script, reply

_T = TypeVar("_T")

CANARY = "hunter2-canary"
PAIR = json.dumps({"login": "temporary", "password": "temporary-canary"}).encode()
JSON = (Path(__file__).parents[1] / "wire" / "performance.json").read_bytes()
SECRETS = (CANARY, "temporary-canary", "Basic ", "dGVtcG9yYXJ5")  # the last one: beginning of the encoded pair
MIB = 1024 * 1024
PHONES = [f"80055501{number:02}" for number in range(8)]


def checked(home: Path, base_url: str, **api: Any) -> Ended:
    """Run `check --online`: it authenticates and sends one data request."""
    tables = configuration(base_url, f"sqlite:///{home}/store.db", api={"timeout": 5.0, **api}, password=CANARY)
    ended = Installation(home, tables).run("check", "--online")
    assert not [secret for secret in SECRETS if secret in ended.out + ended.err]
    assert "Traceback" not in ended.err
    return ended


def side_by_side(work: Callable[[_T], None], cases: Sequence[_T]) -> None:
    """Run the cases in threads, because they mostly wait."""
    with ThreadPoolExecutor(len(cases)) as pool:
        for _ in pool.map(work, cases):
            pass


# TLS

CA = """
[ca]
default_ca = own
[own]
database = {home}/index.txt
new_certs_dir = {home}
serial = {home}/serial
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = {name}
basicConstraints = critical,CA:TRUE
"""
EXPIRED = ("-startdate", "20200101000000Z", "-enddate", "20200201000000Z")
VALID = ("-days", "2")


def certificate(home: Path, name: str, validity: tuple[str, ...] = VALID) -> tuple[ssl.SSLContext, Path]:
    """Return a TLS context with a self-signed certificate, and the file for `ca_file`."""
    if shutil.which("openssl") is None:
        pytest.skip("NO OPENSSL: install its command to run these tests")
    key, request, cert = (home / f"server.{end}" for end in ("key", "csr", "pem"))
    (home / "ca.conf").write_text(CA.format(home=home, name=name))
    (home / "index.txt").touch()
    (home / "serial").write_text("01")
    request_arguments = [
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=test",
    ]
    request_arguments += ["-keyout", str(key), "-out", str(request)]
    sign_arguments = [
        "ca",
        "-config",
        str(home / "ca.conf"),
        "-selfsign",
        "-keyfile",
        str(key),
        "-in",
        str(request),
        "-batch",
    ]
    sign_arguments += ["-notext", "-out", str(cert), *validity]
    for arguments in (request_arguments, sign_arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


@contextmanager
def recorded(server: RawServer) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the URL of a server behind a proxy, and the first bytes of each connection, recorded by the proxy."""
    with in_thread(server), proxied(server.url) as (proxy, url):
        yield url, proxy.openings


def assert_only_tls(openings: list[bytes]) -> None:
    assert openings
    assert all(opening.startswith(b"\x16\x03") for opening in openings), openings


def test_a_certificate_that_ca_file_trusts_is_accepted(tmp_path: Path) -> None:
    context, cert = certificate(tmp_path, "IP:127.0.0.1")
    server = RawServer(reply(PAIR), reply(b"{}"), tls=context)
    with recorded(server) as (url, openings):
        ended = checked(tmp_path, url, ca_file=str(cert))
    assert_only_tls(openings)
    assert ended.code == 0, ended.err
    assert CANARY.encode() in server.requests[0]


BAD = (
    ("IP:127.0.0.1", VALID, False, "self-signed certificate"),
    ("DNS:other.example", VALID, True, "not valid for '127.0.0.1'"),
    ("IP:127.0.0.1", EXPIRED, True, "certificate has expired"),
)


def test_a_bad_certificate_is_refused(tmp_path: Path) -> None:
    """Self-signed, of another host, expired."""

    def run_case(bad: tuple[str, tuple[str, ...], bool, str]) -> None:
        name, validity, trusted, text = bad
        home = tmp_path / text.partition(" ")[0]
        home.mkdir()
        context, cert = certificate(home, name, validity)
        server = RawServer(reply(PAIR), reply(b"{}"), tls=context)
        with recorded(server) as (url, openings):
            ended = checked(home, url, **({"ca_file": str(cert)} if trusted else {}))
        assert_only_tls(openings)
        assert server.requests == []
        assert ended.code == 69, ended.err
        assert text in ended.out + ended.err

    side_by_side(run_case, BAD)


def test_a_server_without_tls_gets_no_request(tmp_path: Path) -> None:
    server = RawServer(reply(PAIR), reply(b"{}"))
    with recorded(server) as (url, openings):
        ended = checked(tmp_path, url.replace("http:", "https:"), timeout=0.5)
    assert_only_tls(openings)
    assert server.requests == []
    assert ended.code == 69, ended.err


def test_a_name_that_cannot_be_resolved_is_reported(tmp_path: Path) -> None:
    ended = checked(tmp_path, "https://voicetrends.invalid/api")
    assert ended.code == 69
    assert "voicetrends.invalid cannot be resolved" in ended.out + ended.err


# Redirects


def test_a_redirect_to_another_host_is_never_followed(tmp_path: Path) -> None:
    """Neither at /auth nor at the data resources; `localhost` with another port is another host."""
    elsewhere = RawServer(reply(PAIR), reply(b"{}"))

    def run_case(case: tuple[str, tuple[Script, ...]]) -> None:
        name, before = case
        status, _, _ = name.partition(" ")
        home = tmp_path / name
        home.mkdir()
        there = elsewhere.url.replace("127.0.0.1", "localhost")
        headers = {"Location": f"{there}/api/auth", "Refresh": f"0; url={there}/", "Link": f"<{there}>; rel=canonical"}
        moved = reply(b"<html>moved</html>", status=f"{status} Moved", headers=headers)
        with in_thread(RawServer(*before, moved)) as server:
            ended = checked(home, server.url)
        assert len(server.requests) > len(before)
        assert ended.code == 69, ended.err

    with in_thread(elsewhere):
        side_by_side(run_case, [("302 auth", ()), ("307 data", (reply(PAIR),))])
    assert elsewhere.connections == 0


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
async def test_no_redirect_status_is_followed(status: int) -> None:
    async with RawServer(reply(PAIR)) as elsewhere:
        moved = reply(b"moved", status=f"{status} Moved", headers={"Location": f"{elsewhere.url}/api"})
        async with RawServer(moved) as server, AiohttpTransport(timeout=5.0) as transport:
            request = Request("POST", server.url, {"Authorization": "Basic secret"}, CANARY.encode())
            async with transport.send(request) as response:
                assert response.status == status
    assert elsewhere.connections == 0


# Bombs


def bombs() -> list[Script]:
    def inflated(raw: bytes, coding: str = "gzip") -> Script:
        packed = gzip.compress(raw) if coding == "gzip" else zlib.compress(raw)
        return reply(packed, headers={"Content-Encoding": coding})

    nearly = MAX_DENSE_BODY_BYTES - 100
    return [
        inflated(bytes(64 * MIB)),
        inflated(b" " * 64 * MIB, "deflate"),
        inflated(b'{"calls":"%s"}' % (b"a" * nearly)),
        inflated(b'{"calls":"\xf0\x9f\x98\x80%s"}' % (b"a" * nearly)),
        inflated(b'{"calls":{"1517461200":%s}}' % (b"9" * nearly)),
        inflated(b'{"calls":{%s"1":1}}' % (b'"1517461200":"x",' * 99_000)),
        inflated(b"<result><%s/></result>" % (b"a" * nearly)),
        inflated(b"<result><calls>%s</calls></result>" % (b"<item/>" * 99_000)),
        inflated(b'<result xmlns:a="%s"><calls>%s</calls></result>' % (b"u" * MIB, b"<a:item/>" * 90_000)),
        inflated(b"<result %s/>" % b" ".join(b'a%x=""' % number for number in range(300_000))),
        inflated(b"[" * nearly),
    ]


def peak(running: Running) -> float:
    """Wait for the end of a process, and return the MiB of memory that it used at most."""
    found = 0.0
    deadline = time.monotonic() + PATIENCE
    status = Path(f"/proc/{running.pid}/status")
    while not running.has_ended and time.monotonic() < deadline:
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        found = int(lines[0].split()[1]) / 1024 if lines else found
        time.sleep(0.02)
    return found


def test_bombs_take_little_memory(tmp_path: Path) -> None:
    """With eight requests in flight and every answer a bomb, at most 32 MiB more than with ordinary answers."""
    if not Path("/proc/self/status").exists():
        pytest.skip("NO /proc: memory is read from there")
    peaks = {}

    def run_case(case: tuple[str, list[Script]]) -> None:
        name, scripts = case
        home = tmp_path / name
        home.mkdir()
        with in_thread(RawServer(*scripts)) as server:
            tables = configuration(server.url, f"sqlite:///{home}/store.db", phones=PHONES, tool=None)
            harvester = Installation(home, tables)
            with harvester.started("backfill", "--start", "2018-02-01", "--end", "2018-02-08", "--json") as running:
                peaks[name] = peak(running)
                ended = running.ended()
        assert ended.code == (0 if name == "plain" else 3), ended.err
        assert len(server.requests) >= (8 if name == "plain" else 25)

    side_by_side(run_case, [("plain", [reply(JSON)]), ("bombs", bombs() * 10)])
    assert 30 < peaks["plain"] < peaks["bombs"] + 5  # the measurement works
    assert peaks["bombs"] - peaks["plain"] < 32
