"""A TCP proxy that spoils what it carries, by toxiproxy's names and meanings.

    with proxied("http://127.0.0.1:8080/api") as (proxy, url):
        proxy.add(Latency(seconds=0.05), LimitData(count=300, toxicity=0.2))
        proxy.heal()

A toxic works on one direction: downstream (from the server to the client, the usual case) or upstream. `toxicity` is
the share of connections that it strikes, drawn per connection from the proxy's seed; a kept connection keeps its
fate. Toxics may be added and taken away while connections are open: each chunk meets those of its own moment, in the
order in which they were added. Seconds and bytes throughout.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Self
from urllib.parse import urlsplit

from tests.support.in_thread import in_thread

_CHUNK = 64 * 1024
_LOOK_EVERY = 0.01
_LINGER_NOT = struct.pack("ii", 1, 0)  # with a linger of zero seconds, closing sends RST


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
    meets: Callable[[Toxic], bool]  # whether a toxic is still there
    carried: int = 0  # bytes
    spoken: bool = False

    async def write(self, data: bytes) -> None:
        self.carried += len(data)
        self.writer.write(data)
        await self.writer.drain()


@dataclass(frozen=True, kw_only=True)
class Toxic:
    """Does nothing; the others are of its kind."""

    upstream: bool = False
    toxicity: float = 1.0  # share of the connections

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - of the others
        """Hand on what is left of a chunk that came `age` seconds ago."""
        yield data

    async def closing(self, link: Link) -> None:
        """The sender has closed."""


@dataclass(frozen=True, kw_only=True)
class Latency(Toxic):
    """Delays everything, without slowing the flow."""

    seconds: float
    jitter: float = 0.0  # seconds more or less

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:
        await asyncio.sleep(max(0.0, self.seconds + self.jitter * link.random.uniform(-1, 1) - age))
        yield data


@dataclass(frozen=True, kw_only=True)
class Bandwidth(Toxic):
    """Lets through so many bytes per second."""

    rate: int

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - of the others
        portion = max(1, self.rate // 20)
        for at in range(0, len(data), portion):
            piece = data[at : at + portion]
            await asyncio.sleep(len(piece) / self.rate)
            yield piece


@dataclass(frozen=True, kw_only=True)
class SlowClose(Toxic):
    """Tells of a closed connection late."""

    seconds: float

    async def closing(self, link: Link) -> None:  # noqa: ARG002 - of the others
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True, kw_only=True)
class Timeout(Toxic):
    """Lets nothing through, and closes after so long or, with 0, when it is taken away."""

    seconds: float = 0.0

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - of the others
        await asyncio.sleep(self.seconds)
        while not self.seconds and link.meets(self):  # noqa: ASYNC110 - it is taken away by another thread
            await asyncio.sleep(_LOOK_EVERY)
        raise _Ending
        yield data  # makes it a generator


@dataclass(frozen=True, kw_only=True)
class ResetPeer(Toxic):
    """Answers data with RST, at once or after so long."""

    seconds: float = 0.0

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - of the others
        await asyncio.sleep(self.seconds)
        raise _Ending(reset=True)
        yield data  # makes it a generator


@dataclass(frozen=True, kw_only=True)
class Slicer(Toxic):
    """Cuts the flow into small packets with a pause after each."""

    average_size: int
    size_variation: int = 0
    delay: float = 0.0

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - of the others
        at = 0
        while at < len(data):
            size = max(1, self.average_size + link.random.randint(-self.size_variation, self.size_variation))
            yield data[at : at + size]
            at += size
            await asyncio.sleep(self.delay)


@dataclass(frozen=True, kw_only=True)
class LimitData(Toxic):
    """Closes after so many bytes."""

    count: int

    async def pieces(self, link: Link, data: bytes, age: float) -> AsyncGenerator[bytes]:  # noqa: ARG002 - of the others
        left = self.count - link.carried
        if left > 0:
            yield data[:left]
        if left <= len(data):
            raise _Ending


class FaultProxy:
    """Listens on a loopback port and carries to another one, within `async with`.

    Args:
        target: host and port.
        seed: of which connections a toxic strikes, and of jitter.
    """

    def __init__(self, target: tuple[str, int], *, seed: int = 0) -> None:
        self._target = target
        self._seed = seed
        self._toxics: tuple[Toxic, ...] = ()  # replaced whole, so other threads may
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.struck: set[Toxic] = set()  # those that met some chunk or end
        self.openings: list[bytes] = []  # how each connection's first words to the server begin
        self.port = 0

    def add(self, *toxics: Toxic) -> None:
        """Spoil what passes from now on. From any thread."""
        self._toxics += toxics

    def remove(self, *toxics: Toxic) -> None:
        """Spoil no more. From any thread."""
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
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            writers.append(far_writer)
            up = self._link(number, reader, far_writer, upstream=True)
            down = self._link(number, far_reader, writer, upstream=False)
            reset = await self._carry_both(up, down)
        except (OSError, asyncio.CancelledError):
            pass  # the other side went, or the proxy is closing
        finally:
            self._tasks.discard(task)
            for one in writers:
                if reset:
                    one.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                    one.transport.abort()
                one.close()

    def _link(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upstream: bool) -> Link:
        luck = Random(f"{self._seed} {number} {upstream}")  # noqa: S311 - no secret
        return Link(number, upstream, reader, writer, luck, lambda toxic: toxic in self._toxics)

    async def _carry_both(self, up: Link, down: Link) -> bool:
        """Carry until one end is reached; returns whether it is to be a reset."""
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
                came_at, data = await chunks.get()
                if not data:
                    break
                if link.upstream and not link.spoken:
                    self.openings.append(data[:8])
                    link.spoken = True
                toxics = [toxic for toxic in self._toxics if self._strikes(toxic, link)]
                await self._through(toxics, link, data, came_at)
            for toxic in [toxic for toxic in self._toxics if self._strikes(toxic, link)]:
                self.struck.add(toxic)
                await toxic.closing(link)
        finally:
            reading.cancel()

    def _strikes(self, toxic: Toxic, link: Link) -> bool:
        drawn = Random(f"{self._seed} {link.number} {toxic}").random()  # noqa: S311 - no secret
        return toxic.upstream == link.upstream and drawn < toxic.toxicity

    async def _through(self, toxics: list[Toxic], link: Link, data: bytes, came_at: float) -> None:
        if not toxics:
            await link.write(data)
            return
        self.struck.add(toxics[0])
        age = asyncio.get_running_loop().time() - came_at
        async with aclosing(toxics[0].pieces(link, data, age)) as pieces:
            async for piece in pieces:
                await self._through(toxics[1:], link, piece, came_at)


async def _read(reader: asyncio.StreamReader, chunks: asyncio.Queue[tuple[float, bytes]]) -> None:
    data = b"more"
    while data:
        data = b""
        with suppress(OSError):  # a reset by the peer ends the flow like a close
            data = await reader.read(_CHUNK)
        await chunks.put((asyncio.get_running_loop().time(), data))


@contextmanager
def proxied(url: str, *, seed: int = 0) -> Iterator[tuple[FaultProxy, str]]:
    """A proxy in a thread before a server on loopback, and the URL that stands for the server's."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    with in_thread(FaultProxy((parts.hostname, parts.port), seed=seed)) as proxy:
        yield proxy, parts._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()
