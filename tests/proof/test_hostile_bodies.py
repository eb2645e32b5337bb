"""Hostile bodies and cut bodies: the result is the whole answer or an error of ours, never a part."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import pytest

from harvester.core.model import Batch, Series, Slice
from harvester.core.period import Period
from harvester.errors import HarvesterError, Outage, PayloadError, SourceUnavailable
from harvester.parsing.normalize import normalize
from harvester.source.credentials import DirectCredentials
from harvester.source.http import HttpSource
from harvester.source.transport import AiohttpTransport
from tests.support.answers import CALENDAR
from tests.support.raw_server import RawServer, Script, chunked, gzipped, head, reply, until_close
from tests.support.source_parts import RecordingPermit

WIRE = Path(__file__).parent.parent / "wire"
JSON = (WIRE / "performance.json").read_bytes()
XML = (WIRE / "performance.xml").read_bytes()
PIECE = Slice(Series("main", "performance", "8005551234", Period.DAY), date(2018, 2, 1), date(2018, 2, 8))
STRIDE = 13  # bytes between two cuts; cuts at every byte prove no more


class Client:
    """Client that requests one slice repeatedly."""

    def __init__(self, transport: AiohttpTransport, url: str) -> None:
        self._source = HttpSource(transport, DirectCredentials("me", lambda: "secret"), base_url=url)

    async def request(self) -> Batch | HarvesterError:
        await self._source.ready()
        try:
            return normalize(await self._source.fetch(PIECE, RecordingPermit()), CALENDAR)
        except HarvesterError as error:
            return error


def close_delimited_gzip(body: bytes) -> Script:
    return Script((head("200 OK", {"Content-Encoding": "gzip"}) + gzip.compress(body),), close=True)


FRAMINGS = {
    "content-length": reply(JSON),
    "content-length-xml": reply(XML),
    "chunked": chunked(JSON, size=50),
    "gzip": gzipped(JSON),
    "close-delimited": until_close(JSON),
    "close-delimited-xml": until_close(XML),
    "close-delimited-gzip": close_delimited_gzip(JSON),
}


@pytest.mark.parametrize("name", FRAMINGS)
async def test_an_answer_cut_at_any_byte_is_complete_or_an_error(name: str) -> None:
    raw = b"".join(FRAMINGS[name].portions)
    cuts = [
        Script((raw[:keep],), close=True) for keep in [*range(0, len(raw), STRIDE), *range(len(raw) - 12, len(raw))]
    ]
    async with RawServer(*cuts, FRAMINGS[name]) as server, AiohttpTransport(timeout=5.0) as transport:
        client = Client(transport, server.url)
        answers = [await client.request() for _ in cuts]
        whole = await client.request()
        assert len(server.requests) == len(cuts) + 1
    assert not isinstance(whole, HarvesterError)
    assert not whole.rejects
    for answer in answers:
        if isinstance(answer, HarvesterError):
            assert isinstance(answer, PayloadError | SourceUnavailable), answer
        else:
            assert answer == whole  # only white space was lost
    errors = [answer for answer in answers if isinstance(answer, HarvesterError)]
    assert len(errors) >= len(answers) - 2


async def test_a_body_that_never_ends_stops_at_the_total_timeout() -> None:
    portions = (head("200 OK", {"Content-Length": str(len(JSON))}), *(JSON[at : at + 1] for at in range(200)))
    async with RawServer(Script(portions, pause=0.02)) as server, AiohttpTransport(timeout=0.3) as transport:
        error = await Client(transport, server.url).request()
    assert isinstance(error, SourceUnavailable)
    assert error.outage is Outage.TIMEOUT


async def test_a_header_of_a_megabyte_is_refused() -> None:
    large = reply(JSON, headers={"X-Large": "x" * 1_000_000})
    many = reply(JSON, headers={f"X-{number}": "x" * 100 for number in range(10_000)})
    async with RawServer(large, many, reply(JSON)) as server, AiohttpTransport(timeout=5.0) as transport:
        client = Client(transport, server.url)
        first, second, third = [await client.request() for _ in range(3)]
    assert isinstance(first, SourceUnavailable)
    assert isinstance(second, SourceUnavailable)
    assert not isinstance(third, HarvesterError)


def with_metric(name: str, value: bytes) -> bytes:
    """The published body with one more metric."""
    return JSON.replace(b"{", b'{"%s":%s,' % (name.encode(), value), 1)


def with_number(text: bytes) -> bytes:
    """The published body with another first number."""
    return JSON.replace(b'"1517461200":0', b'"1517461200":' + text, 1)


LAUGHS = b'<!DOCTYPE r [<!ENTITY a "ha">%s]>' % b"".join(
    b'<!ENTITY %c "%s">' % (letter, b"&%c;" % (letter - 1) * 10) for letter in b"bcdefghi"
)
DEEP = 100_000

HOSTILE_DOCUMENTS = {
    "deep-arrays": b'{"calls":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep-objects": b'{"calls":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "deep-after-a-long-number": b'{"a":' + b"9" * 5000 + b',"b":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "nul-after": JSON + b"\0",
    "nul-before": b"\0" + JSON,
    "two-boms": b"\xef\xbb\xbf" * 2 + JSON,
    "utf-16": JSON.decode().encode("utf-16"),
    "utf-7": b"+AHs-+AH0-",
    "not-utf-8": with_metric("x", b'"\xed\xa0\x80"'),
    "overlong": with_metric("x", b'"\xc0\x80"'),
    "two-documents": JSON + JSON,
    "laughs": XML.replace(b"<result>", LAUGHS + b"<result><extra>&i;</extra>", 1),
    "external-entity": XML.replace(b"<result>", b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><result>', 1),
    "external-dtd": XML.replace(b"<result>", b'<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd"><result>', 1),
    "parameter-entity": XML.replace(b"<result>", b'<!DOCTYPE r [<!ENTITY % x "y">%x;]><result>', 1),
    "attlist": XML.replace(b"<result>", b'<!DOCTYPE r [<!ATTLIST item timestamp CDATA "1">]><result>', 1),
    "unknown-entity": XML.replace(b"<result>", b"<result><x>&nbsp;</x>", 1),
    "nul-in-xml": XML.replace(b"<result>", b"<result>\0", 1),
    "nul-by-reference": XML.replace(b"<result>", b"<result>&#0;", 1),
    "surrogate-by-reference": XML.replace(b"<result>", b"<result>&#xD800;", 1),
    "ebcdic": XML[XML.index(b"<result") :].decode().encode("cp037"),
    "another-root": b"<html><result>%s</result></html>" % XML[XML.index(b"<result") :],
    "namespaces": b'<result xmlns:a="%s"><calls>%s</calls></result>' % (b"u" * 400_000, b"<a:item/>" * 2000),
    "namespaces-hidden": b'<?xml version="1.0" encoding="cp037"?>' + '<result xmlns:a="u"/>'.encode("cp037"),
    "many-attributes": b"<result %s/>" % b" ".join(b'a%x=""' % number for number in range(600_000)),
    "nested-xml": b"<result>" + b"<a>" * DEEP + b"</a>" * DEEP + b"</result>",
}


@pytest.mark.parametrize("name", HOSTILE_DOCUMENTS)
async def test_a_hostile_document_is_refused(name: str) -> None:
    async with RawServer(reply(HOSTILE_DOCUMENTS[name])) as server, AiohttpTransport(timeout=30.0) as transport:
        answer = await Client(transport, server.url).request()
    assert isinstance(answer, PayloadError | SourceUnavailable), answer
    assert "root:" not in str(answer)


IRREGULAR = {
    "huge-number": (with_number(b"9" * 5000), 1),
    "huge-exponent": (with_number(b"1e999999999"), 1),
    "tiny-exponent": (with_number(b"1e-999999999"), 0),  # 0 is the nearest double
    "long-fraction": (with_number(b"0." + b"1" * 100_000), 0),
    "nan": (with_number(b"NaN"), 1),
    "nul-in-text": (with_number(b'"\\u0000"'), 1),
    "half-a-surrogate-pair": (with_number(b'"\\ud800"'), 1),
    "half-a-pair-as-name": (with_metric("\\ud83d", b'{"1517461200":1}'), 1),
    "nul-in-name": (with_metric("a\\u0000b", b'{"1517461200":1}'), 1),
    "sql-as-name": (with_metric("x'); DROP TABLE value; --", b'{"1517461200":1}'), 0),  # a name like any other
    "endless-name": (with_metric("x" * 100_000, b'{"1517461200":1}'), 1),
    "duplicate-key": (with_number(b'5,"1517461200":0'), 2),
    "duplicate-metric": (with_metric("calls", b'{"1517461200":5}'), 2),
    "nul-in-key": (with_number(b'0,"1517461200\\u0000":1'), 1),
    "minus-zero": (with_number(b"-0.0"), 0),
    "bom": (b"\xef\xbb\xbf" + JSON, 0),
    "deep-but-whole": (with_metric("x", b"[" * 300 + b"]" * 300), 1),
    "escapes-in-terminal": (with_number(b'"\\u001b]0;pwned\\u0007"'), 1),
}


@pytest.mark.parametrize("name", IRREGULAR)
async def test_an_irregular_entry_affects_no_other(name: str) -> None:
    body, rejects = IRREGULAR[name]
    async with RawServer(reply(body), reply(JSON)) as server, AiohttpTransport(timeout=30.0) as transport:
        client = Client(transport, server.url)
        irregular, published = await client.request(), await client.request()
    assert not isinstance(irregular, HarvesterError), irregular
    assert not isinstance(published, HarvesterError)
    assert len(irregular.rejects) == rejects
    assert all(text.isascii() and text.isprintable() and len(text) <= 200 for one in irregular.rejects for text in one)
    for metric, values in published.values.items():
        missing = dict(values).items() - dict(irregular.values[metric]).items()
        assert len(missing) <= (1 if metric == "calls" else 0)
