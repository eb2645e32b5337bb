"""Measuring of exchanges over loopback, with and without an answer."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from harvester.errors import PayloadError, SourceUnavailable
from harvester.source.body import read_answer
from harvester.source.instrumented import InstrumentedTransport
from harvester.source.transport import AiohttpTransport, Request
from tests.support.raw_server import RawServer, Script, cut, head, reply

PATH = "/api/performance/20240101/20240102/day/8005551234"
Seen = list[tuple[str, str, float]]


async def exchange(base: str, url: str, seen: Seen, *, seconds: float = 5.0) -> None:
    ticks = itertools.count()
    async with AiohttpTransport(timeout=seconds) as transport:
        measured = InstrumentedTransport(
            transport,
            base_url=base,
            observe=lambda *facts: seen.append(facts),
            now=lambda: float(next(ticks)),
        )
        async with measured.send(Request("GET", url)) as response:
            await read_answer(response)


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        (PATH, "performance"),
        ("/api/volume/20240101/20240102/day/ALL", "volume"),
        ("/api/auth", "auth"),
        ("/api/surprise/1", "other"),
        ("/api/", "other"),
        ("/elsewhere/performance", "other"),
    ],
)
async def test_the_resource_is_what_follows_the_base_url(path: str, resource: str) -> None:
    seen: Seen = []
    async with RawServer(reply(b"{}")) as server:
        await exchange(f"{server.url}/api/", f"{server.url}{path}", seen)
    assert seen == [(resource, "200", 1.0)]


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (reply(b"{}", status="429 Too Many Requests"), "429"),
        (reply(b"", status="503 Service Unavailable"), "503"),
        (cut(reply(b"{}" * 100, status="500 Internal Server Error"), drop=50), "500"),  # only its status counts
    ],
    ids=["429", "503", "cut-500"],
)
async def test_the_outcome_of_an_answer_is_its_status(script: Script, outcome: str) -> None:
    seen: Seen = []
    async with RawServer(script) as server:
        await exchange(server.url, f"{server.url}/performance/1", seen)
    assert [kind for _, kind, _ in seen] == [outcome]


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (cut(reply(b"{}" * 100), drop=50), "closed"),
        (Script(close=True), "closed"),
        (Script(hang=True), "timeout"),
        (Script((head("200 OK", {"Content-Length": "9"}),), hang=True), "timeout"),
        (Script((b"SMTP ready\r\n\r\n",), close=True), "not-api"),
    ],
    ids=["cut", "no-answer", "silence", "no-body", "no-http"],
)
async def test_the_outcome_without_an_answer_is_the_outage(script: Script, outcome: str) -> None:
    seen: Seen = []
    async with RawServer(script) as server:
        with pytest.raises(SourceUnavailable):
            await exchange(server.url, f"{server.url}/performance/1", seen, seconds=0.2)
    assert [kind for _, kind, _ in seen] == [outcome]


async def test_the_outcome_without_a_server_is_connect() -> None:
    seen: Seen = []
    async with RawServer(reply()) as server:
        url = server.url
    with pytest.raises(SourceUnavailable):
        await exchange(url, f"{url}/performance/1", seen)
    assert [kind for _, kind, _ in seen] == ["connect"]


async def test_the_outcome_of_an_answer_that_its_reader_refuses_is_the_status() -> None:
    seen: Seen = []
    async with RawServer(reply(b"{}", headers={"Content-Encoding": "br"})) as server:
        with pytest.raises(PayloadError):
            await exchange(server.url, f"{server.url}/performance/1", seen)
    assert [kind for _, kind, _ in seen] == ["200"]


async def test_a_cancelled_exchange_is_counted_once() -> None:
    seen: Seen = []
    async with RawServer(Script(hang=True)) as server:
        task = asyncio.create_task(exchange(server.url, f"{server.url}/performance/1", seen))
        await server.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [kind for _, kind, _ in seen] == ["cancelled"]
