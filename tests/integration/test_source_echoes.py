"""A server that repeats what it received, over real HTTP: no secret reaches an error, a reject or a metric's name."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable
from datetime import date
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from harvester.clock import SystemClock
from harvester.core.model import Series, Slice
from harvester.core.period import Calendar, Period
from harvester.errors import HarvesterError
from harvester.parsing.normalize import normalize
from harvester.redaction import Redactor
from harvester.source.credentials import DirectCredentials
from harvester.source.http import HttpSource
from harvester.source.tool_credentials import ToolCredentials
from harvester.source.transport import AiohttpTransport
from tests.support.echoes import ENCODERS, basic, leaks
from tests.support.examples import examples
from tests.support.raw_server import RawServer, Script, reply, until_close
from tests.support.source_parts import MemoryLedger, RecordingPermit, run_inline

LOGIN = "me@example.com"
PIECE = Slice(Series("main", "performance", "8005551234", Period.DAY), date(2018, 2, 1), date(2018, 2, 8))
CALENDAR = Calendar(ZoneInfo("America/New_York"))
STATUSES = ("200 OK", "302 Found", "400 Bad", "401 No", "403 No", "404 No", "429 Slow", "500 Oops", "502 Bad Gateway")
HEADERS = (
    "Location",
    "Retry-After",
    "Content-Type",
    "Content-Encoding",
    "Date",
    "X-RateLimit-Reset",
    "WWW-Authenticate",
)
# No text of ours contains such a prefix.
SECRETS = st.tuples(st.text("QXZ", min_size=4, max_size=4), st.text('ab9 %+/\\"&<>é✓', max_size=12)).map("".join)


def markup(text: str) -> bytes:
    return f"<result><error>{text.replace('&', '&amp;').replace('<', '&lt;')}</error></result>".encode()


BODIES: dict[str, Callable[[str], bytes]] = {
    "json error": lambda echo: json.dumps({"error": f"refused: {echo}"}).encode(),
    "json error, UTF-8": lambda echo: json.dumps({"error": echo}, ensure_ascii=False).encode(),
    "xml error": markup,
    "text": lambda echo: echo.encode(),
    "text in Latin-1": lambda echo: echo.encode("latin-1", "replace"),
    "html": lambda echo: f"<html><p>{echo}</p></html>".encode(),
    "metric's name": lambda echo: json.dumps({"calls": {"1517461200": 1}, echo: {"1517461200": 2}}).encode(),
    "only a metric's name": lambda echo: json.dumps({echo: {"1517461200": 2}}).encode(),
    "timestamp": lambda echo: json.dumps({"calls": {"1517461200": 1, echo: 2}}).encode(),
    "value": lambda echo: json.dumps({"calls": {"1517461200": echo, "1517547600": [echo]}}).encode(),
    "place of a map": lambda echo: json.dumps({"calls": {"1517461200": 1}, "login": echo, "password": echo}).encode(),
    "xml value": lambda echo: (
        f'<result><calls><item timestamp="1517461200">{json.dumps(echo)}</item></calls></result>'.replace(
            "&", "&amp;"
        ).encode()
    ),
    "xml of something else": lambda echo: f"<x{echo.strip() if echo.strip().isalnum() else ''}/>".encode(),
    "half a pair": lambda echo: json.dumps({"login": echo}).encode(),
}


@st.composite
def echoes(draw: st.DrawFn, at: str) -> tuple[list[str], Script]:
    """Draw four secrets, and an answer that repeats some of those that were sent before it, perhaps cut."""
    secrets = draw(st.lists(SECRETS, min_size=4, max_size=4, unique_by=lambda secret: secret[:4]))
    password, login, temporary, proxy = secrets
    sent = [password, basic(LOGIN, password), proxy, basic("proxy", proxy)]
    sent.append(urlencode({"tool": "fuseplus", "login": LOGIN, "password": password}))
    sent += [login, temporary, basic(login, temporary)] if at == "data" else []
    parts = draw(st.lists(st.tuples(st.sampled_from(sent), st.sampled_from(sorted(ENCODERS))), min_size=1, max_size=3))
    echo = " ".join(ENCODERS[encoder](text) for text, encoder in parts)
    echo = "x" * draw(st.sampled_from([0, 15, 190])) + " " + echo  # across the positions where texts are cut
    echo = echo[: draw(st.integers(1, len(echo)))] if draw(st.booleans()) else echo
    body = BODIES[draw(st.sampled_from(sorted(BODIES)))](echo)
    if draw(st.booleans()):
        cut = body[: draw(st.integers(0, len(body)))]
        return secrets, until_close(cut)
    status = draw(st.sampled_from(STATUSES))
    line = echo.replace("\r", "").replace("\n", "").encode("latin-1", "replace").decode("latin-1")
    headers = dict.fromkeys(draw(st.sets(st.sampled_from(HEADERS), max_size=2)), line)
    reason = f"{status[:3]} {line}" if draw(st.booleans()) else status
    return secrets, reply(body, status=reason, headers=headers)


async def texts_of(secrets: list[str], echo: Script, *, at: str) -> list[str]:
    """Return every text that a login and a request produce, if `at` (auth or data) answers with the echo."""
    password, login, temporary, proxy = secrets
    pair = reply(json.dumps({"login": login, "password": temporary}).encode())

    def answer(request: bytes) -> Script:
        is_auth = request.startswith(b"POST /auth ")
        return echo if is_auth == (at == "auth") else pair

    redactor = Redactor()
    redactor.add_url_login(f"http://proxy:{ENCODERS['percent'](proxy)}@127.0.0.1:1")
    async with RawServer(answer=answer) as server, AiohttpTransport(timeout=5.0) as transport:
        credentials = ToolCredentials(
            transport,
            SystemClock(),
            MemoryLedger(),
            base_url=server.url,
            tool="fuseplus",
            login=LOGIN,
            password=lambda: password,
            redactor=redactor,
            run_blocking=run_inline,
        )
        source = HttpSource(transport, credentials, base_url=server.url)
        try:
            await source.ready()
            batch = normalize(await source.fetch(PIECE, RecordingPermit()), CALENDAR)
        except HarvesterError as error:
            return [str(error), repr(error), *traceback.format_exception(error)]
    return [*batch.values, *(text for reject in batch.rejects for text in reject)]


@pytest.mark.parametrize("at", ["auth", "data"])
@given(data=st.data())
@examples(150, suppress_health_check=[HealthCheck.too_slow])
def test_no_echo_of_a_secret_is_in_any_text(at: str, data: st.DataObject) -> None:
    secrets, echo = data.draw(echoes(at))
    texts = asyncio.run(texts_of(secrets, echo, at=at))
    hidden = [*secrets, basic(LOGIN, secrets[0]), basic(secrets[1], secrets[2]), basic("proxy", secrets[3])]
    assert leaks(texts, hidden) == []


@pytest.mark.parametrize("at", ["auth", "data"])
def test_the_name_of_another_document_is_masked(at: str) -> None:
    secrets = ["QXZQsecret", "a" * 9, "b" * 9, "c" * 9]
    first, *others = asyncio.run(texts_of(secrets, reply(b"<QXZQsecret/>"), at=at))
    assert "<***>" in first
    assert leaks([first, *others], secrets) == []


@pytest.mark.parametrize("status", ["200 OK", "400 Bad", "500 Oops"])
def test_a_secret_is_masked_before_the_text_is_cut(status: str) -> None:
    """Not even the first character remains of a secret that begins before the 200th character."""
    for length in range(195, 200):
        body = json.dumps({"error": "x" * length + "QXZQ-secret"}).encode()
        assert "Q" not in direct_fetch(reply(body, status=status), "QXZQ-secret").detail


def test_the_search_for_leaks_finds_every_encoding() -> None:
    """Otherwise the property above would also hold without a filter."""
    secret = 'QXZ%/"é '
    for name, encode in ENCODERS.items():
        assert leaks([f"wrong: {encode(secret)}"], [secret]), name
    assert leaks([f"wrong: {secret[:4]}"], [secret])
    assert not leaks(["wrong: QXZ"], [secret])


def direct_fetch(script: Script, password: str) -> HarvesterError:
    async def fetch() -> HarvesterError:
        async with RawServer(script) as server, AiohttpTransport(timeout=5.0) as transport:
            source = HttpSource(transport, DirectCredentials(LOGIN, lambda: password), base_url=server.url)
            await source.ready()
            with pytest.raises(HarvesterError) as caught:
                await source.fetch(PIECE, RecordingPermit())
            return caught.value

    return asyncio.run(fetch())


def test_the_named_parameter_does_not_depend_on_the_password() -> None:
    error = direct_fetch(reply(b'{"error":"Invalid phone parameter."}', status="400 Bad"), "phone")
    assert error.detail == "400: Invalid *** parameter."
    assert getattr(error, "named", None) == {"phone"}


@pytest.mark.parametrize("password", ["calls", "1517461200", "js_errors"])
def test_figures_do_not_depend_on_the_password(password: str) -> None:
    body = b'{"calls":{"1517461200":1517461200},"js_errors":{"1517461200":2,"1517547600":null}}'

    async def fetch() -> dict[str, object]:
        async with RawServer(reply(body)) as server, AiohttpTransport(timeout=5.0) as transport:
            source = HttpSource(transport, DirectCredentials(LOGIN, lambda: password), base_url=server.url)
            await source.ready()
            metrics = (await source.fetch(PIECE, RecordingPermit())).metrics
            return {name: list(entries) for name, entries in metrics.items()}

    assert asyncio.run(fetch()) == {
        "calls": [("1517461200", 1517461200)],
        "js_errors": [("1517461200", 2), ("1517547600", None)],
    }


def test_an_answer_full_of_text_is_masked_as_a_whole() -> None:
    body = json.dumps({"calls": {"1517461200": 1, **{f"key {number}": "QXZQ-secret" for number in range(20_000)}}})
    texts = asyncio.run(texts_of(["QXZQ-secret", "a" * 9, "b" * 9, "c" * 9], reply(body.encode()), at="data"))
    assert len(texts) > 1000
    assert leaks(texts, ["QXZQ-secret"]) == []
