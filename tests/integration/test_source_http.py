"""One slice over real HTTP: the documented request, and the page or the error for each answer."""

from __future__ import annotations

import base64
import gzip
import logging
import traceback
from datetime import date
from pathlib import Path
from urllib.parse import quote

import pytest

from harvester.core.model import Page, Series, Slice
from harvester.core.period import Period
from harvester.errors import (
    HarvesterError,
    Outage,
    PayloadError,
    SliceRejected,
    SourceUnavailable,
    Throttled,
    Unauthorized,
)
from harvester.source import body
from harvester.source.credentials import DirectCredentials
from harvester.source.http import HttpSource
from harvester.source.transport import AiohttpTransport
from tests.support.raw_server import RawServer, Script, chunked, cut, gzipped, reply
from tests.support.source_parts import SENT_AT, RecordingPermit

WIRE = Path(__file__).parent.parent / "wire"
JSON = (WIRE / "performance.json").read_bytes()
XML = (WIRE / "performance.xml").read_bytes()
HTML = b"<!DOCTYPE html><html><body>Gateway</body></html>"
CANARY = "pässwörd-canary-✓"
PIECE = Slice(Series("main", "performance", "8005551234", Period.DAY), date(2018, 2, 1), date(2018, 2, 8))


async def fetch(
    base_url: str,
    permit: RecordingPermit | None = None,
    *,
    accept: str = "json",
    method: str = "GET",
    login: str = "me",
) -> Page:
    async with AiohttpTransport(timeout=2.0) as transport:
        source = HttpSource(
            transport, DirectCredentials(login, lambda: CANARY), base_url=base_url, body_format=accept, method=method
        )
        await source.ready()
        return await source.fetch(PIECE, permit or RecordingPermit())


async def refused(script: Script) -> HarvesterError:
    async with RawServer(script) as server:
        with pytest.raises(HarvesterError) as caught:
            await fetch(server.url)
        return caught.value


async def test_the_request_is_the_documented_one() -> None:
    async with RawServer(reply(JSON)) as server:
        await fetch(server.url + "/api/")
        lines = server.requests[0].split(b"\r\n")
    assert lines[0] == b"GET /api/performance/20180201/20180208/day/8005551234 HTTP/1.1"
    assert b"Accept: application/json" in lines
    assert b"Accept-Encoding: gzip" in lines
    pair = base64.b64encode(f"me:{CANARY}".encode())  # UTF-8, whatever the password
    assert b"Authorization: Basic " + pair in lines


async def test_method_and_format_are_settings() -> None:
    async with RawServer(reply(XML)) as server:
        await fetch(server.url, accept="xml", method="POST")
        assert server.requests[0].startswith(b"POST /performance/")
        assert b"Accept: application/xml\r\n" in server.requests[0]


@pytest.mark.parametrize("script", [reply(JSON), reply(XML), chunked(JSON), gzipped(XML)])
async def test_a_page_holds_what_the_body_says(script: Script) -> None:
    permit = RecordingPermit()
    async with RawServer(script) as server:
        page = await fetch(server.url, permit)
    assert page.slice == PIECE
    assert page.sent_at == SENT_AT
    assert list(page.metrics)[:2] == ["calls", "js_errors"]
    assert dict(page.metrics["average_page_load"])["1517979600"] == 0.045
    assert permit.events == ["begin", "200 -", "end"]


async def test_the_permit_sees_the_headers_of_a_refusal_too() -> None:
    permit = RecordingPermit()
    async with RawServer(reply(status="400 Bad", headers={"X-RateLimit-Remaining": "149"})) as server:
        with pytest.raises(SliceRejected):
            await fetch(server.url, permit)
    assert permit.events == ["begin", "400 149", "end"]


async def test_a_request_that_was_not_sent_returns_its_permit_unused() -> None:
    permit = RecordingPermit()
    with pytest.raises(SourceUnavailable):
        await fetch("http://127.0.0.1:1", permit)
    assert permit.events == ["begin", "unused", "end"]


async def test_a_request_without_an_answer_counts_as_lost() -> None:
    permit = RecordingPermit()
    async with RawServer(Script(close=True)) as server:
        with pytest.raises(SourceUnavailable):
            await fetch(server.url, permit)
    assert permit.events == ["begin", "end"]


async def test_fetch_before_ready_is_a_bug_that_costs_no_quota() -> None:
    permit = RecordingPermit()
    async with AiohttpTransport() as transport:
        source = HttpSource(transport, DirectCredentials("me", lambda: CANARY), base_url="http://127.0.0.1:1")
        with pytest.raises(RuntimeError):
            await source.fetch(PIECE, permit)
    assert permit.events == ["begin", "unused", "end"]


@pytest.mark.parametrize("body", [(WIRE / "error.json").read_bytes(), (WIRE / "error.xml").read_bytes()])
async def test_a_400_rejects_the_slice_and_reports_the_named_parameter(body: bytes) -> None:
    # The published XML error claims to be JSON.
    error = await refused(reply(body, status="400 Bad Request", headers={"Content-Type": "application/json"}))
    assert isinstance(error, SliceRejected)
    assert error.detail == "400: Invalid start parameter."
    assert error.named == {"start"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"Range too wide.", set()),
        (b"Phone report limited to 100 days", set()),
        (b"Date range too large for phone 8005551234", set()),
        (b"END must not be before Start", {"start", "end"}),
        (b"Unknown number 8005551234", {"phone"}),
        (b"no access to 18005551234", set()),
        (b"invalid phone/period", {"phone", "period"}),
        (b"the backend is restarted", set()),
    ],
)
async def test_the_parameters_that_a_refusal_names(text: bytes, named: set[str]) -> None:
    error = await refused(reply(b'{"error":"%s"}' % text, status="400 Bad Request"))
    assert isinstance(error, SliceRejected)
    assert error.named == named


async def test_the_text_of_a_refusal_is_cut_and_escaped() -> None:
    error = await refused(reply(b'{"error":"\\u001b[31m\\u0000' + b"x" * 9999 + b'"}', status="422 Unprocessable"))
    assert isinstance(error, SliceRejected)
    assert error.detail.isprintable()
    assert len(error.detail) <= 205


API_ERROR = b'{"error":"No."}'


@pytest.mark.parametrize(
    ("status", "body", "kind", "outage"),
    [
        (400, b"", SliceRejected, None),
        (400, HTML, SliceRejected, None),
        (404, API_ERROR, SliceRejected, None),
        (404, HTML, SourceUnavailable, Outage.NOT_API),
        (404, b"404: Not Found", SourceUnavailable, Outage.NOT_API),
        (405, API_ERROR, SliceRejected, None),
        (413, API_ERROR, SliceRejected, None),
        (401, API_ERROR, Unauthorized, None),
        (401, HTML, Unauthorized, None),
        (403, API_ERROR, Unauthorized, None),
        (403, HTML, SourceUnavailable, Outage.NOT_API),
        (407, b"", SourceUnavailable, Outage.NOT_API),
        (408, b"", SourceUnavailable, Outage.SERVER),
        (429, API_ERROR, Throttled, None),
        (429, HTML, Throttled, None),
        (500, API_ERROR, SourceUnavailable, Outage.SERVER),
        (503, HTML, SourceUnavailable, Outage.SERVER),
        (302, b"", SourceUnavailable, Outage.NOT_API),
        (204, b"", SourceUnavailable, Outage.NOT_API),
        (200, HTML, SourceUnavailable, Outage.NOT_API),
        (200, b"Down for maintenance", SourceUnavailable, Outage.NOT_API),
        (200, b"", PayloadError, None),
        (200, b"[1]", PayloadError, None),
        (200, JSON[:-1], PayloadError, None),
        (200, XML[:-9], PayloadError, None),
        (200, JSON + b"x", PayloadError, None),
        (200, b'{"error":"Unknown error."}', PayloadError, None),
        (200, b'{"error":"Invalid phone parameter."}', SliceRejected, None),
        (200, b"<result><error>Invalid phone parameter.</error></result>", SliceRejected, None),
    ],
)
async def test_the_error_for_each_answer(
    status: int, body: bytes, kind: type[HarvesterError], outage: Outage | None
) -> None:
    error = await refused(reply(body, status=f"{status} Whatever"))
    assert type(error) is kind, error
    assert getattr(error, "outage", None) is outage


async def test_a_status_counts_more_than_its_broken_body() -> None:
    error = await refused(cut(reply(API_ERROR, status="401 Unauthorized"), drop=3))
    assert isinstance(error, Unauthorized)
    assert error.generation == 1


async def test_no_secret_in_any_error_log_or_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts = [repr(DirectCredentials("me", lambda: CANARY))]
    for script in (
        reply(status="401 Unauthorized"),
        reply(status="500 Oops"),
        reply(status="302 Found", headers={"Location": "http://127.0.0.1:1/"}),
        Script(close=True),
        reply(b"{"),
        reply(headers={"X": "x" * 100_000}),
    ):
        error = await refused(script)
        texts += [repr(error), str(error), "".join(traceback.format_exception(error))]
    texts.append(caplog.text)
    joined = "".join(texts)
    assert CANARY not in joined
    assert "bWU6" not in joined  # how the encoded pair begins


async def test_a_403_with_a_retry_after_is_a_limit() -> None:
    text = b'{"error":"Slow down."}'
    assert isinstance(await refused(reply(text, status="403 Forbidden", headers={"Retry-After": "5"})), Throttled)
    assert isinstance(await refused(reply(text, status="403 Forbidden")), Unauthorized)
    assert isinstance(
        await refused(reply(HTML, status="403 Forbidden", headers={"Retry-After": "5"})), SourceUnavailable
    )


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "308 Permanent"])
async def test_a_redirect_says_where_it_leads_without_secrets(status: str) -> None:
    location = f"https://me:{quote(CANARY)}@new.example/api/x?login=me#y"
    error = await refused(reply(status=status, headers={"Location": location}))
    assert isinstance(error, SourceUnavailable)
    assert "redirects to https://new.example/api/x;" in str(error)
    assert "api.base_url" in str(error)
    long = await refused(reply(status=status, headers={"Location": "/" + 5000 * "x"}))
    assert len(str(long)) < 500


@pytest.mark.parametrize(("sample", "stated"), [("error.json", 90), ("error.xml", 120)])
async def test_a_refusal_with_the_published_content_length_costs_seconds_and_keeps_its_text(
    sample: str, stated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "ERROR_BODY_SECONDS", 0.2)
    text = (WIRE / sample).read_bytes()
    error = await refused(reply(text, status="400 Bad Request", headers={"Content-Length": str(stated)}))
    assert isinstance(error, SliceRejected)
    assert "start" in error.named, "its text is read"


@pytest.mark.parametrize("coding", ["utf-8", "none", "gzip, gzip", "identity, gzip", "UTF-8, gzip"])
async def test_a_content_encoding_that_is_no_coding_or_is_named_twice_is_read(coding: str) -> None:
    packed = gzip.compress(JSON) if "gzip" in coding else JSON
    async with RawServer(reply(packed, headers={"Content-Encoding": coding})) as server:
        assert (await fetch(server.url)).metrics["calls"]


@pytest.mark.parametrize("value", [b'""', b'" "', b"null"])
async def test_an_empty_error_beside_metrics_is_none(value: bytes) -> None:
    beside = JSON.replace(b"{", b'{"error":' + value + b",", 1)
    async with RawServer(reply(JSON), reply(beside)) as server:
        assert (await fetch(server.url)).metrics == (await fetch(server.url)).metrics
