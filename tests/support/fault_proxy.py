"""TCP proxy that injects network faults, with the names and meanings of toxiproxy.

    with proxied("http://127.0.0.1:8080/api") as (proxy, url):
        proxy.add(Latency(seconds=0.05), LimitData(count=300, toxicity=0.2))
        proxy.heal()

A toxic works on one direction: downstream (from the server to the client, the usual case) or upstream. `toxicity` is
the share of connections that it affects, drawn once per connection from the proxy's seed. Toxics may be added and
removed while connections are open: those that are there when a chunk arrives apply to it, in the order in which they
were added. Units are seconds and bytes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.support.in_thread import in_thread

_CHUNK_BYTES = 64 * 1024
_POLL_INTERVAL = 0.01  # seconds
_NO_LINGER = struct.pack("ii", 1, 0)  # with a linger of zero seconds, closing sends RST


class _Ending(Exception):
    def __init__(self, *, reset: bool = False) -> None:
        self.reset = reset
        super().__init__(reset)


@dataclass(eq=False)
class Link:
    """One direction of one connection."""

    number: int  # of the connection, from 0
    upstream: bool
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    random: Random
    has: Callable[[Toxic], bool]  # returns True while a toxic is not removed
    sent_bytes: int = 0  # bytes
    started: bool = False

    async def write(self, data: bytes) -> None:
        self.sent_bytes += len(data)
        self.writer.write(data)
        await self.writer.drain()


@dataclass(frozen=True, kw_only=True)
class Toxic:
    """Base of the toxics; it changes nothing."""

    upstream: bool = False
    toxicity: float = 1.0  # share of the connections

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - part of the interface
        """Yield what remains of a chunk that came `age` seconds ago."""
        yield data

    async def closing(self, link: Link) -> None:
        """Act on the end of the sender's data."""


@dataclass(frozen=True, kw_only=True)
class Latency(Toxic):
    """Delay of each chunk, without a limit of the rate."""

    seconds: float
    jitter: float = 0.0  # seconds, added or subtracted

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:
        await asyncio.sleep(max(0.0, self.seconds + self.jitter * link.random.uniform(-1, 1) - age))
        yield data


@dataclass(frozen=True, kw_only=True)
class Bandwidth(Toxic):
    """Limit of the bytes per second."""

    rate: int

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - part of the interface
        portion = max(1, self.rate // 20)
        for at in range(0, len(data), portion):
            piece = data[at : at + portion]
            await asyncio.sleep(len(piece) / self.rate)
            yield piece


@dataclass(frozen=True, kw_only=True)
class SlowClose(Toxic):
    """Delay of the end of a connection."""

    seconds: float

    async def closing(self, link: Link) -> None:  # noqa: ARG002 - part of the interface
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True, kw_only=True)
class Timeout(Toxic):
    """Loss of all data; the connection closes after `seconds`, or with 0 when the toxic is removed."""

    seconds: float = 0.0

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - part of the interface
        await asyncio.sleep(self.seconds)
        while not self.seconds and link.has(self):  # noqa: ASYNC110 - another thread removes it
            await asyncio.sleep(_POLL_INTERVAL)
        raise _Ending
        yield data  # makes it a generator


@dataclass(frozen=True, kw_only=True)
class ResetPeer(Toxic):
    """RST in answer to data, after `seconds`."""

    seconds: float = 0.0

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - part of the interface
        await asyncio.sleep(self.seconds)
        raise _Ending(reset=True)
        yield data  # makes it a generator


@dataclass(frozen=True, kw_only=True)
class Slicer(Toxic):
    """Division of the data into small packets with a pause after each."""

    average_size: int
    size_variation: int = 0
    delay: float = 0.0

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - part of the interface
        at = 0
        while at < len(data):
            size = max(1, self.average_size + link.random.randint(-self.size_variation, self.size_variation))
            yield data[at : at + size]
            at += size
            await asyncio.sleep(self.delay)


@dataclass(frozen=True, kw_only=True)
class LimitData(Toxic):
    """End of the connection after `count` bytes."""

    count: int

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - part of the interface
        left = self.count - link.sent_bytes
        if left > 0:
            yield data[:left]
        if left <= len(data):
            raise _Ending


class FaultProxy:
    """Proxy from a loopback port to another one, active inside `async with`.

    Args:
        target: host and port, or the path of a socket.
        seed: of the connections that a toxic affects, and of jitter.
    """

    def __init__(self, target: tuple[str, int] | Path, *, seed: int = 0) -> None:
        self._target = target
        self._seed = seed
        self._toxics: tuple[Toxic, ...] = ()  # replaced as a whole, so that other threads may do it
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.applied: set[Toxic] = set()  # to at least one chunk or end
        self.openings: list[bytes] = []  # first bytes of each connection to the server
        self.port = 0

    def add(self, *toxics: Toxic) -> None:
        """Apply toxics from now on. May be called from any thread."""
        self._toxics += toxics

    def remove(self, *toxics: Toxic) -> None:
        """Stop applying toxics. May be called from any thread."""
        self._toxics = tuple(toxic for toxic in self._toxics if toxic not in toxics)

    def heal(self) -> None:
        """Remove all toxics."""
        self.remove(*self._toxics)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [writer]
        reset = False
        try:
            if isinstance(self._target, Path):
                far_reader, far_writer = await asyncio.open_unix_connection(self._target)
            else:
                far_reader, far_writer = await asyncio.open_connection(*self._target)
            writers.append(far_writer)
            up = self._link(number, reader, far_writer, upstream=True)
            down = self._link(number, far_reader, writer, upstream=False)
            reset = await self._forward_both(up, down)
        except (OSError, asyncio.CancelledError):
            pass  # the other side closed, or the proxy is closing
        finally:
            self._tasks.discard(task)
            for one in writers:
                if reset:
                    one.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                    one.transport.abort()
                one.close()

    def _link(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upstream: bool) -> Link:
        random = Random(f"{self._seed} {number} {upstream}")  # noqa: S311 - no secret
        return Link(number, upstream, reader, writer, random, lambda toxic: toxic in self._toxics)

    async def _forward_both(self, up: Link, down: Link) -> bool:
        """Forward until one direction ends; return True if the connection is to be reset."""
        pumps = [asyncio.ensure_future(self._pump(link)) for link in (up, down)]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            results = await asyncio.gather(*pumps, return_exceptions=True)
        return any(isinstance(result, _Ending) and result.reset for result in results)

    async def _pump(self, link: Link) -> None:
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)
        reading = asyncio.ensure_future(_read(link.reader, chunks))
        try:
            while True:
                received_at, data = await chunks.get()
                if not data:
                    break
                if link.upstream and not link.started:
                    self.openings.append(data[:8])
                    link.started = True
                toxics = [toxic for toxic in self._toxics if self._affects(toxic, link)]
                await self._apply(toxics, link, data, received_at)
            for toxic in [toxic for toxic in self._toxics if self._affects(toxic, link)]:
                self.applied.add(toxic)
                await toxic.closing(link)
        finally:
            reading.cancel()

    def _affects(self, toxic: Toxic, link: Link) -> bool:
        drawn = Random(f"{self._seed} {link.number} {toxic}").random()  # noqa: S311 - no secret
        return toxic.upstream == link.upstream and drawn < toxic.toxicity

    async def _apply(self, toxics: list[Toxic], link: Link, data: bytes, received_at: float) -> None:
        if not toxics:
            await link.write(data)
            return
        self.applied.add(toxics[0])
        age = asyncio.get_running_loop().time() - received_at
        async with aclosing(toxics[0].pieces(link, data, age)) as pieces:
            async for piece in pieces:
                await self._apply(toxics[1:], link, piece, received_at)


async def _read(reader: asyncio.StreamReader, chunks: asyncio.Queue[tuple[float, bytes]]) -> None:
    data = b"more"
    while data:
        data = b""
        with suppress(OSError):  # a reset by the peer ends the data as a close does
            data = await reader.read(_CHUNK_BYTES)
        await chunks.put((asyncio.get_running_loop().time(), data))


@contextmanager
def proxied(url: str, *, seed: int = 0) -> Iterator[tuple[FaultProxy, str]]:
    """Yield a proxy, in a thread, in front of a server on loopback, and the URL that replaces the server's."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    with in_thread(FaultProxy((parts.hostname, parts.port), seed=seed)) as proxy:
        yield proxy, parts._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()


@contextmanager
def proxied_postgres(url: str) -> Iterator[tuple[FaultProxy, str]]:
    """A proxy before a PostgreSQL server of the tests, and the URL of the same database behind it."""
    found = urlsplit(url)
    socket_path = Path(parse_qs(found.query)["host"][0]) / ".s.PGSQL.5432"
    with in_thread(FaultProxy(socket_path)) as proxy:
        yield proxy, found._replace(netloc=f"postgres@127.0.0.1:{proxy.port}", query="").geturl()
