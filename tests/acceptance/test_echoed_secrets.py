"""Servers that repeat what they received: no secret reaches stdout, stderr, the log or the database."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Self

import pytest

from tests.support.echoes import ENCODERS, basic, leaks
from tests.support.in_thread import in_thread
from tests.support.process import Ended, Installation, configuration
from tests.support.raw_server import RawServer, Script, reply

LOGIN = "demo@example.com"
PASSWORD = 'QXZP 9+/"é%'
PROXY_PASSWORD = "QXZR/proxy"
PAIR = ("QXZL57b264aa1b794ff8", "QXZT25d421b1ee6c44da")
SECRETS = (PASSWORD, PROXY_PASSWORD, *PAIR)
HIDDEN = (*SECRETS, basic(LOGIN, PASSWORD), basic(*PAIR), basic("proxy", PROXY_PASSWORD))
BACKFILL = ("-v", "backfill", "--start", "2018-02-01", "--end", "2018-02-08")


def echo_of(request: bytes) -> str:
    """Return what was sent so far, each secret in each encoding; headers first, because a message is short."""
    head, _, form = request.decode("latin-1").partition("\r\n\r\n")
    logins = [line.partition(": ")[2] for line in head.splitlines() if "uthorization: " in line]
    sent = SECRETS if b"\r\nAuthorization: " in request else (PASSWORD, PROXY_PASSWORD)
    return " ".join([*logins, form, *(encode(text) for encode in ENCODERS.values() for text in sent), head])


def json_error(request: bytes) -> bytes:
    return json.dumps({"error": f"refused: {echo_of(request)}"}).encode()


def cut_error(request: bytes) -> bytes:
    """Return an error that ends inside the first secret of the request."""
    text = request.decode("latin-1")
    at = max(text.find(mark) + len(mark) for mark in ("password=", "Authorization: Basic ") if mark in text)
    return json.dumps({"error": text[at : at + 9]}).encode()


def text(request: bytes) -> bytes:
    return echo_of(request).removeprefix("Basic ").encode()


def rejects(request: bytes) -> bytes:
    echo = echo_of(request)
    maps = {"calls": {"1517461200": echo, echo: 1}, "login": PAIR[0], "password": PAIR[1], PAIR[1]: {"1517461200": 1}}
    return json.dumps(maps).encode()


def harvester(home: Path, port: int) -> Installation:
    proxy = f"http://proxy:{ENCODERS['percent'](PROXY_PASSWORD)}@127.0.0.1:{port}"
    tables = configuration(
        "http://api.invalid/api", f"sqlite:///{home}/store.db", password=PASSWORD, api={"proxy": proxy}
    )
    tables["log"] = {"level": "debug"}
    return Installation(home, tables)


def output_of(home: Path, *ended: Ended) -> list[str]:
    """Return what the commands printed, and every row that they stored."""
    texts = [line for one in ended for line in (one.out + one.err).splitlines()]
    with closing(sqlite3.connect(home / "store.db")) as database:
        return texts + list(database.iterdump())


@pytest.mark.parametrize(
    ("at", "status", "body", "ends"),
    [
        ("auth", "400 Bad", json_error, True),
        ("auth", "400 Bad", cut_error, True),
        ("auth", "200 OK", text, False),
        ("auth", "500 Oops", json_error, False),
        ("data", "400 Bad", json_error, True),
        ("data", "400 Bad", cut_error, True),
        ("data", "401 No", json_error, True),
        ("data", "200 OK", text, True),
        ("data", "200 OK", rejects, True),
        ("data", "500 Oops", json_error, True),
    ],
)
def test_no_echo_of_the_api_is_printed_or_stored(
    tmp_path: Path,
    at: str,
    status: str,
    body: Callable[[bytes], bytes],
    ends: bool,  # noqa: FBT001 - a column
) -> None:
    pair = reply(json.dumps({"login": PAIR[0], "password": PAIR[1]}).encode())

    def answer(request: bytes) -> Script:
        if (b"/api/auth " in request.partition(b"\r\n")[0]) != (at == "auth"):
            return pair
        line = request.partition(b"Authorization: ")[2].partition(b"\r\n")[0].decode("latin-1")
        return reply(body(request), status=f"{status} {line}", headers={"Location": f"http://api.invalid/{line}"})

    with in_thread(RawServer(answer=answer)) as server:
        home = harvester(tmp_path, server.port)
        with home.started(*BACKFILL, "--json") as running:
            if not ends:
                running.until(lambda: "no_credentials" in running.err)
                running.signal(signal.SIGINT)
            backfill = running.ended()
        checked = home.run("check", "--online", "--json") if status == "400 Bad" else backfill
        stored = home.run("status", "--json")
    assert len(server.requests) >= (1 if at == "auth" else 2)
    assert leaks(output_of(tmp_path, backfill, checked, stored), HIDDEN) == []
    if status == "400 Bad" and body is json_error:
        for ended in (backfill, checked):
            assert "refused: Basic ***" in ended.out  # only the secrets are masked


class EchoingDatabase:
    """Server with the part of PostgreSQL's protocol that asks for a password; it repeats the password in its error."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        startup = await _message(reader, kind=0)
        while startup[:4] != struct.pack("!I", 3 << 16):  # requests for TLS or GSSAPI
            writer.write(b"N")
            startup = await _message(reader, kind=0)
        writer.write(b"R" + struct.pack("!II", 8, 3))  # AuthenticationCleartextPassword
        password = (await _message(reader, kind=1)).rstrip(b"\0").decode()
        echo = " ".join(encode(password) for encode in ENCODERS.values())
        fields = f"SFATAL\0C28P01\0Mpassword {echo} is wrong\0D{password}\0\0".encode()
        writer.write(b"E" + struct.pack("!I", len(fields) + 4) + fields)
        writer.close()


async def _message(reader: asyncio.StreamReader, *, kind: int) -> bytes:
    head = await reader.readexactly(kind + 4)
    return await reader.readexactly(struct.unpack("!I", head[kind:])[0] - 4)


@pytest.mark.parametrize("command", [("migrate",), ("check",), ("status", "--json"), BACKFILL])
@pytest.mark.parametrize("in_url", [False, True])
def test_no_echo_of_the_database_is_printed(tmp_path: Path, command: tuple[str, ...], in_url: bool) -> None:  # noqa: FBT001 - a column
    with in_thread(EchoingDatabase()) as database:
        user = f"me:{ENCODERS['percent'](PASSWORD)}" if in_url else "me"
        settings = {} if in_url else {"password": PASSWORD}
        url = f"postgresql://{user}@127.0.0.1:{database.port}/calls?sslmode=disable"
        tables = configuration("http://127.0.0.1:1/api", url, database=settings)
        ended = Installation(tmp_path, tables).run(*command)
    assert ended.code == 74
    assert "is wrong" in ended.out + ended.err
    assert leaks((ended.out + ended.err).splitlines(), [PASSWORD]) == []
