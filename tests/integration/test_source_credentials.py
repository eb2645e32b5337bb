"""Credentials against a scripted /auth over real HTTP, with a clock whose sleeps end at once."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

import pytest

from harvester.errors import (
    ConfigError,
    CredentialsRefused,
    HarvesterError,
    Outage,
    SourceUnavailable,
    StoreError,
    Throttled,
)
from harvester.source.credentials import DirectCredentials
from harvester.source.tool_credentials import BURST_SECONDS, PAIR_LIFETIME, AuthLimit, ToolCredentials
from harvester.source.transport import AiohttpTransport
from tests.support.raw_server import RawServer, Script, reply
from tests.support.source_parts import MemoryLedger, run_inline

CANARY = "pässwörd-canary-✓"
PLAIN_CANARY = "hunter2-canary"
BROKEN_CANARY = "canary \ud800"
PAIR = reply(b'{"login":"temp","password":"s3cret-canary"}')
XML_PAIR = reply(b"<result><login>temp</login><password>s3cret-canary</password></result>")
BASIC = "Basic dGVtcDpzM2NyZXQtY2FuYXJ5"  # temp:s3cret-canary


class JumpingClock:
    """Clock whose sleeps end at once, with the time moved on."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.since = 50.0
        self.sleeps: list[float] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.since

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.since += seconds

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


class Setup:
    """Credentials of one account, with the server, the clock and the ledger that they use."""

    def __init__(
        self, server: RawServer, credentials: ToolCredentials, clock: JumpingClock, ledger: MemoryLedger
    ) -> None:
        self.server = server
        self.credentials = credentials
        self.clock = clock
        self.ledger = ledger
        self.waits: list[float] = []


@asynccontextmanager
async def setup(
    *scripts: Script,
    ledger: MemoryLedger | None = None,
    accept: str = "json",
    password: str = CANARY,
    url: str | None = None,
) -> AsyncIterator[Setup]:
    clock = JumpingClock()
    ledger = ledger or MemoryLedger()
    waits: list[float] = []
    async with RawServer(*scripts) as server, AiohttpTransport(timeout=2.0) as transport:
        credentials = ToolCredentials(
            transport,
            clock,
            ledger,
            base_url=url or f"{server.url}/api/",
            tool="fuseplus",
            login="me@example.com",
            password=lambda: password,
            body_format=accept,
            limit=AuthLimit(attempts=3, window=900.0),
            run_blocking=run_inline,
            on_wait=waits.append,
        )
        at = Setup(server, credentials, clock, ledger)
        at.waits = waits
        yield at


def generation(at: Setup) -> int:
    pair = at.credentials.current()
    assert pair is not None
    return pair.generation


@pytest.mark.parametrize(("script", "accept"), [(PAIR, "json"), (XML_PAIR, "xml"), (XML_PAIR, "json")])
async def test_a_tools_login_is_exchanged_by_a_form(script: Script, accept: str) -> None:
    async with setup(script, accept=accept) as at:
        assert at.credentials.current() is None
        await at.credentials.ready()
        await at.credentials.ready()
        pair = at.credentials.current()
        assert pair is not None
        assert (pair.generation, pair.authorization) == (1, BASIC)
        (request,) = at.server.requests
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /api/auth HTTP/1.1\r\n")
        assert b"Content-Type: application/x-www-form-urlencoded\r\n" in head
        assert f"Accept: application/{accept}\r\n".encode() in head
        assert b"authorization" not in head.lower()
        assert parse_qs(body.decode("ascii")) == {
            "tool": ["fuseplus"],
            "login": ["me@example.com"],
            "password": [CANARY],
        }


async def test_one_exchange_serves_all_waiting_callers() -> None:
    async with setup(PAIR) as at:
        await asyncio.gather(*(at.credentials.ready() for _ in range(8)))
        assert len(at.server.requests) == 1
        await asyncio.gather(*(at.credentials.renew(1) for _ in range(8)))
        assert len(at.server.requests) == 2
        assert generation(at) == 2


async def test_a_late_401_for_the_old_pair_renews_nothing() -> None:
    async with setup(PAIR) as at:
        await at.credentials.ready()
        await at.credentials.renew(1)
        await at.credentials.renew(1)
        assert (len(at.server.requests), generation(at)) == (2, 2)


async def test_a_failure_is_shared_by_all_waiting_callers() -> None:
    async with setup(reply(status="500 Oops"), PAIR) as at:
        failures = await asyncio.gather(*(at.credentials.ready() for _ in range(8)), return_exceptions=True)
        assert all(isinstance(failure, SourceUnavailable) for failure in failures)
        assert len(at.server.requests) == 1
        await asyncio.gather(*(at.credentials.ready() for _ in range(8)))
        assert len(at.server.requests) == 2


async def test_after_a_cancelled_exchange_another_caller_sends_the_next() -> None:
    async with setup(Script(hang=True), PAIR) as at:
        first = asyncio.ensure_future(at.credentials.ready())
        await at.server.asked.wait()
        second = asyncio.ensure_future(at.credentials.ready())
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert generation(at) == 1
        assert len(at.ledger.at) == 2


async def test_after_two_unproven_pairs_there_is_no_third_exchange() -> None:
    async with setup(PAIR) as at:
        await at.credentials.ready()
        await at.credentials.renew(1)
        for _ in range(2):
            with pytest.raises(CredentialsRefused, match="401"):
                await at.credentials.renew(2)
        assert len(at.server.requests) == 2


async def test_an_accepted_request_allows_renewing_again() -> None:
    async with setup(PAIR) as at:
        await at.credentials.ready()
        await at.credentials.renew(1)
        at.credentials.accepted(1)  # an answer that was on its way with the old pair proves nothing
        with pytest.raises(CredentialsRefused):
            await at.credentials.renew(2)
    async with setup(PAIR) as at:
        await at.credentials.ready()
        await at.credentials.renew(1)
        at.credentials.accepted(2)
        await at.credentials.renew(2)
        assert generation(at) == 3


async def test_a_pair_is_replaced_after_a_day() -> None:
    async with setup(PAIR) as at:
        await at.credentials.ready()
        at.clock.advance(PAIR_LIFETIME - 1)
        await at.credentials.ready()
        assert generation(at) == 1
        # Pairs that were not used count as neither proven nor unproven.
        for day in range(2, 6):
            at.clock.advance(PAIR_LIFETIME)
            await at.credentials.ready()
            assert generation(at) == day


async def test_an_old_pair_stays_in_use_while_auth_is_down() -> None:
    async with setup(PAIR, reply(status="503 Down"), PAIR) as at:
        await at.credentials.ready()
        at.clock.advance(PAIR_LIFETIME)
        await at.credentials.ready()
        await at.credentials.ready()
        assert (len(at.server.requests), generation(at)) == (2, 1)
        at.clock.advance(900)
        await at.credentials.ready()
        assert generation(at) == 2


@pytest.mark.parametrize(
    "script",
    [
        reply(b'{"error":"Invalid login."}', status="400 Bad Request"),
        reply(b'{"error":"Invalid login."}', status="403 Forbidden"),
        reply(b'{"error":"Invalid login."}'),
        reply(b"<result><error>Invalid login.</error></result>", status="401 Unauthorized"),
        reply(status="401 Unauthorized"),
    ],
)
async def test_a_refusal_is_final_at_once(script: Script) -> None:
    async with setup(script) as at:
        for _ in range(2):
            with pytest.raises(CredentialsRefused, match=r"me@example\.com \(fuseplus\): (Invalid login|401)"):
                await at.credentials.ready()
        assert len(at.server.requests) == 1


@pytest.mark.parametrize(
    ("script", "kind", "outage"),
    [
        (reply(status="500 Oops"), SourceUnavailable, Outage.SERVER),
        (reply(b"<html>", status="403 Forbidden"), SourceUnavailable, Outage.NOT_API),
        (reply(b"<html>"), SourceUnavailable, Outage.NOT_API),
        (reply(status="302 Found", headers={"Location": "http://127.0.0.1:1/"}), SourceUnavailable, Outage.NOT_API),
        (reply(b'{"error":"No such page."}', status="404 Not Found"), SourceUnavailable, Outage.NOT_API),
        (Script(close=True), SourceUnavailable, Outage.CLOSED),
        (reply(status="429 Slow"), Throttled, None),
        (reply(b"{}"), SourceUnavailable, Outage.NOT_API),
        (reply(b'{"login":"temp",'), SourceUnavailable, Outage.NOT_API),
        (reply(b'{"login":"temp","password":""}'), SourceUnavailable, Outage.NOT_API),
        (reply(b'{"login":"temp","password":12}'), SourceUnavailable, Outage.NOT_API),
        (reply(b"{}", headers={"Content-Encoding": "gzip"}), SourceUnavailable, Outage.NOT_API),
    ],
)
async def test_after_a_transient_error_the_caller_tries_again(
    script: Script, kind: type[HarvesterError], outage: Outage | None
) -> None:
    async with setup(script, PAIR) as at:
        with pytest.raises(kind) as caught:
            await at.credentials.ready()
        assert getattr(caught.value, "outage", None) is outage
        await at.credentials.ready()
        assert generation(at) == 1


class FullLedger(MemoryLedger):
    """MemoryLedger that cannot be written."""

    async def record(self, at: float) -> None:
        raise StoreError(f"no room for {at}")


async def test_attempts_are_recorded_before_they_are_sent() -> None:
    async with setup(PAIR, ledger=FullLedger()) as at:
        with pytest.raises(StoreError):
            await at.credentials.ready()
        assert at.server.requests == []


async def test_the_limit_holds_across_restarts_and_the_wait_is_reported() -> None:
    start = JumpingClock().now
    async with setup(PAIR, ledger=MemoryLedger(start - 2000, start - 800, start - 100, start - 50)) as at:
        await at.credentials.ready()
        assert at.waits == [100.0]
        assert at.clock.now == start + 100
        assert max(at.clock.sleeps) <= 15.0  # so that a suspend is noticed
        assert at.ledger.at[-1] == start + 100


async def test_no_window_has_more_attempts_than_the_limit() -> None:
    async with setup(reply(status="500 Oops")) as at:
        for _ in range(12):
            with pytest.raises(SourceUnavailable):
                await at.credentials.ready()
        for first, fourth in zip(at.ledger.at, at.ledger.at[3:], strict=False):
            assert fourth - first >= 900.0


async def test_a_clock_that_was_stepped_back_delays_by_one_window_at_most() -> None:
    start = JumpingClock().now
    async with setup(PAIR, ledger=MemoryLedger(*[start + 86_400] * 3)) as at:
        await at.credentials.ready()
        assert at.waits == [900.0]


async def test_an_attempt_that_never_left_is_not_counted() -> None:
    async with setup(PAIR, url="http://127.0.0.1:1") as at:
        for _ in range(8):
            with pytest.raises(SourceUnavailable):
                await at.credentials.ready()
        assert at.waits == []
        assert sum(at.clock.sleeps) < 60


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Date": "Tue, 14 Nov 2023 22:13:20 GMT", "X-RateLimit-Reset": "1700000100"}, 101.0),
        ({"Date": "Tue, 14 Nov 2023 22:13:20 GMT", "X-RateLimit-Reset": "1800000000"}, 900.0),
        ({"X-RateLimit-Reset": "soon"}, 900.0),
        ({}, 900.0),
    ],
)
async def test_a_429_is_waited_out(headers: dict[str, str], seconds: float) -> None:
    async with setup(reply(status="429 Too Many", headers=headers), PAIR) as at:
        with pytest.raises(Throttled):
            await at.credentials.ready()
        await at.credentials.ready()
        assert at.waits == [seconds]


async def test_the_pauses_between_failed_exchanges_grow() -> None:
    async with setup(PAIR, url="http://127.0.0.1:1") as at:
        for _ in range(7):
            with pytest.raises(SourceUnavailable):
                await at.credentials.ready()
        assert at.clock.sleeps == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


async def test_a_tool_that_was_accepted_a_moment_ago_makes_one_more_exchange_after_a_minute() -> None:
    async with setup(PAIR) as at:
        await at.credentials.ready()
        at.credentials.accepted(1)
        await at.credentials.renew(1)
        await at.credentials.renew(2)
        began = at.clock.monotonic()
        await at.credentials.renew(3)
        assert at.clock.monotonic() - began >= BURST_SECONDS
        with pytest.raises(CredentialsRefused):
            await at.credentials.renew(4)


@pytest.mark.parametrize(("login", "password"), [("a:b", CANARY), ("me", BROKEN_CANARY)])
async def test_what_http_cannot_carry_is_a_configuration_error(login: str, password: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await DirectCredentials(login, lambda: password).ready()
    assert "canary" not in "".join(traceback.format_exception(caught.value))


async def test_a_tools_password_that_no_form_can_carry_is_a_configuration_error() -> None:
    async with setup(PAIR, password=BROKEN_CANARY) as at:
        with pytest.raises(ConfigError) as caught:
            await at.credentials.ready()
        assert "canary" not in "".join(traceback.format_exception(caught.value))
        assert at.ledger.at == []


async def test_no_secret_in_any_repr_error_log_or_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    texts = []
    echo = reply(b'{"error":"Wrong password hunter2-canary"}', status="400 Bad Request")
    halves = (reply(b'{"login":"canary"}'), reply(b'{"password":"canary'))
    for script in (echo, reply(status="401 No"), Script(close=True), *halves):
        async with setup(script, password=PLAIN_CANARY) as at:
            with pytest.raises(HarvesterError) as caught:
                await at.credentials.ready()
            texts += [repr(caught.value), str(caught.value), "".join(traceback.format_exception(caught.value))]
    async with setup(PAIR, password=PLAIN_CANARY) as at:
        await at.credentials.ready()
        texts += [repr(at.credentials), repr(at.credentials.current()), str(at.credentials.current())]
    joined = "".join([*texts, caplog.text])
    assert "canary" not in joined
    assert "dGVtcDpz" not in joined
