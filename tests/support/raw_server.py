"""Loopback TCP server that answers each request with scripted bytes, whole, cut or slow, and stores the requests.

    async with RawServer(reply(b"{}"), cut(reply(b"{}"), drop=1)) as server:
        ... server.url, server.requests, server.connections

The scripts are used one after the other, over all connections; the last one is repeated. With `answer`, that function
chooses the script for each request instead.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class Script:
    """Answer to one request: bytes in portions with a pause after each, then perhaps an end of the connection."""

    portions: tuple[bytes, ...] = ()
    pause: float = 0.0
    close: bool = False  # the connection, with FIN
    reset: bool = False  # the connection, with RST
    hang: bool = False  # send nothing more, and leave the connection open


def reply(
    body: bytes = b"", *, status: str = "200 OK", headers: Mapping[str, str] | None = None, close: bool = False
) -> Script:
    """An ordinary answer with a Content-Length."""
    return Script((head(status, {"Content-Length": str(len(body))} | dict(headers or {})) + body,), close=close)


def head(status: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def chunked(body: bytes, *, size: int = 7, finish: bool = True) -> Script:
    """A chunked answer, whole or without its last chunk."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    raw = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + (b"0\r\n\r\n" if finish else b"")
    return Script((head("200 OK", {"Transfer-Encoding": "chunked"}) + raw,), close=not finish)


def gzipped(body: bytes, *, keep: int | None = None) -> Script:
    """A gzip answer, perhaps only the beginning of the stream; Content-Length is that of the bytes that are sent."""
    packed = gzip.compress(body)[:keep]
    return reply(packed, headers={"Content-Encoding": "gzip"})


def cut(script: Script, *, drop: int) -> Script:
    """The same without its last bytes, then closed."""
    raw = b"".join(script.portions)
    return Script((raw[: len(raw) - drop],), close=True)


def until_close(body: bytes) -> Script:
    """An answer that ends with the connection, so that a cut cannot be detected."""
    return Script((head("200 OK", {"Connection": "close"}) + body,), close=True)


class RawServer:
    """Server of the scripts."""

    def __init__(
        self,
        *scripts: Script,
        answer: Callable[[bytes], Script] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._scripts = list(scripts)
        self._answer = answer or (lambda _: self._next())
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.requests: list[bytes] = []  # head and body of each
        self.asked = asyncio.Event()  # set by the first request
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                self.asked.set()
                if not await _play(self._answer(request), writer):
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)

    def _next(self) -> Script:
        return self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]


async def _read_request(reader: asyncio.StreamReader) -> bytes | None:
    try:
        first = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lengths = [line.split(b":")[1] for line in first.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return first + (await reader.readexactly(int(lengths[0])) if lengths else b"")


async def _play(script: Script, writer: asyncio.StreamWriter) -> bool:
    """Send the answer, and return True if the connection stays open."""
    for portion in script.portions:
        writer.write(portion)
        await writer.drain()
        await asyncio.sleep(script.pause)
    if script.hang:
        await asyncio.Event().wait()
    if script.reset:
        # With a linger of zero seconds, closing sends RST.
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return not (script.close or script.reset)
