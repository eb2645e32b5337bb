"""The proxy has the effects that the names of its toxics say; without that the proofs with it would be worthless."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.fault_proxy import (
    Bandwidth,
    FaultProxy,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)

SENT = bytes(range(256)) * 8


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, once, and close."""
    writer.write(await reader.readexactly(len(SENT)))
    await writer.drain()
    writer.close()


async def through(*toxics: Toxic, remove_after: float | None = None) -> tuple[bytes, float, int]:
    """Return what comes back, the seconds until the end, and the number of portions."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server, FaultProxy(server.sockets[0].getsockname()[:2]) as proxy:
        proxy.add(*toxics)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        loop = asyncio.get_running_loop()
        began = loop.time()
        if remove_after is not None:
            loop.call_later(remove_after, proxy.heal)
        writer.write(SENT)
        portions: list[bytes] = []
        try:
            while portions[-1:] != [b""]:
                portions.append(await asyncio.wait_for(reader.read(65536), 5))
        finally:
            writer.close()
        return b"".join(portions), loop.time() - began, len(portions) - 1


async def test_without_toxics_everything_arrives() -> None:
    assert (await through())[0] == SENT
    assert (await through(LimitData(count=3, toxicity=0.0)))[0] == SENT


@pytest.mark.parametrize(
    ("toxic", "seconds"),
    [
        (Latency(seconds=0.1), 0.1),
        (Latency(seconds=0.1, upstream=True), 0.1),
        (Bandwidth(rate=20_480), 0.1),
        (SlowClose(seconds=0.1), 0.1),
    ],
)
async def test_a_delay_loses_nothing(toxic: Toxic, seconds: float) -> None:
    data, took, _ = await through(toxic)
    assert data == SENT
    assert took >= seconds


async def test_a_slicer_divides_the_data_and_loses_nothing() -> None:
    data, _, portions = await through(Slicer(average_size=500, size_variation=100, delay=0.02))
    assert data == SENT
    assert portions >= len(SENT) // 600


@pytest.mark.parametrize("count", [0, 1, 100, len(SENT) - 1, len(SENT)])
async def test_limit_data_closes_after_its_count(count: int) -> None:
    assert (await through(LimitData(count=count)))[0] == SENT[:count]
    assert (await through(Slicer(average_size=99), LimitData(count=count)))[0] == SENT[:count]


async def test_limit_data_upstream_leaves_the_server_without_a_request() -> None:
    assert (await through(LimitData(count=100, upstream=True)))[0] == b""


@pytest.mark.parametrize("upstream", [False, True])
async def test_reset_peer_resets(upstream: bool) -> None:  # noqa: FBT001 - a parameter
    with pytest.raises(ConnectionResetError):
        await through(ResetPeer(upstream=upstream))


async def test_timeout_loses_everything_and_closes() -> None:
    data, took, _ = await through(Timeout(seconds=0.1))
    assert (data, took >= 0.1) == (b"", True)


async def test_timeout_without_seconds_closes_when_it_is_removed() -> None:
    data, took, _ = await through(Timeout(), remove_after=0.1)
    assert (data, took >= 0.1) == (b"", True)
