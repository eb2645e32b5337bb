"""A body is parsed exactly or refused."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harvester.core.model import InvalidValue
from harvester.errors import PayloadError
from harvester.parsing.payload import (
    MAX_EXACT_INTEGER,
    escape_text,
    is_document,
    is_html,
    parse_credentials,
    parse_error,
    parse_metrics,
)
from tests.support.examples import examples

WIRE = Path(__file__).parents[2] / "wire"

NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
STAMPS = st.integers(10**9, 2 * 10**9).map(str)
NUMBERS = st.integers(-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER) | st.floats(allow_nan=False, allow_infinity=False)
METRICS = st.dictionaries(NAMES, st.dictionaries(STAMPS, NUMBERS | st.none(), max_size=4), max_size=3)
SPACE = st.text(" \t\r\n", max_size=3)


def entries(value: str) -> object:
    """Return the parsed value for one JSON value in the place of a number."""
    ((stamp, raw),) = parse_metrics(b'{"calls":{"1517461200":%s}}' % value.encode())["calls"]
    assert stamp == "1517461200"
    return raw


@given(METRICS, SPACE, st.booleans())
@examples(60)
def test_json_comes_back_as_it_was_written(metrics: dict[str, dict[str, float | None]], space: str, bom: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    body = (space + json.dumps(metrics) + space).encode("utf-8-sig" if bom else "utf-8")
    assert {name: dict(parsed) for name, parsed in parse_metrics(body).items()} == metrics


@given(METRICS, SPACE)
@examples(60)
def test_xml_says_the_same_as_json(metrics: dict[str, dict[str, float | None]], space: str) -> None:
    def item(stamp: str, number: float | None) -> str:
        return f"<item timestamp={quoteattr(stamp)}>{'' if number is None else number}</item>"

    inner = "".join(
        f"<{name}>{space}{''.join(item(*pair) for pair in parsed.items())}</{name}>" for name, parsed in metrics.items()
    )
    body = f'{space}<?xml version="1.0"?>\n<result>{inner}</result>{space}'.encode()
    assert {name: dict(parsed) for name, parsed in parse_metrics(body).items()} == metrics


@pytest.mark.parametrize("resource", ["performance", "events", "profile"])
def test_published_bodies(resource: str) -> None:
    published = json.loads((WIRE / f"{resource}.json").read_bytes())
    parsed = parse_metrics((WIRE / f"{resource}.json").read_bytes())
    assert {name: dict(pairs) for name, pairs in parsed.items()} == published
    assert list(parsed) == list(published)


def test_published_xml_equals_published_json() -> None:
    xml, plain = (parse_metrics((WIRE / f"performance.{kind}").read_bytes()) for kind in ("xml", "json"))
    assert {name: list(pairs) for name, pairs in xml.items()} == {name: list(pairs) for name, pairs in plain.items()}


@pytest.mark.parametrize("body", [b"{}", b"[]", b" [ ] ", b"\xef\xbb\xbf{}", b"<result/>", b"<result></result>"])
def test_empty_documents(body: bytes) -> None:
    assert parse_metrics(body) == {}


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "utf-16", "cp037", "no-such"])
def test_the_encoding_that_xml_declares_is_ignored(encoding: str) -> None:
    item = '<result><calls><item timestamp="1">5</item></calls></result>'
    body = f'<?xml version="1.0" encoding="{encoding}"?>{item}'.encode()
    assert {name: list(parsed) for name, parsed in parse_metrics(body).items()} == {"calls": [("1", 5)]}


@pytest.mark.parametrize("body", [b'{"calls":[]}', b'{"calls":{}}', b"<result><calls/></result>"])
def test_an_empty_map_is_a_metric_without_entries(body: bytes) -> None:
    assert {name: list(parsed) for name, parsed in parse_metrics(body).items()} == {"calls": []}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("12", 12),
        ("-3", -3),
        ("0.045", 0.045),
        ("1e3", 1000.0),
        ('"12"', 12),
        ('" 0.045 "', 0.045),
        ('"-3"', -3),
        ('"1E3"', 1000.0),
        ("null", None),
        (str(MAX_EXACT_INTEGER), MAX_EXACT_INTEGER),
        (f"-{MAX_EXACT_INTEGER}", -MAX_EXACT_INTEGER),
        ("1e300", 1e300),
    ],
)
def test_numbers(value: str, number: float | None) -> None:
    assert entries(value) == number


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("NaN", "not a finite number"),
        ("Infinity", "not a finite number"),
        ("-Infinity", "not a finite number"),
        ("1e999", "not a finite number"),
        ('"-1e999"', "not a finite number"),
        ('"NaN"', "not a number"),
        ('"inf"', "not a number"),
        ('""', "not a number"),
        ('"1_000"', "not a number"),
        ('"1,5"', "not a number"),
        ('"0x10"', "not a number"),
        ('"\\u0661\\u0662"', "not a number"),
        (f'"{"9" * 65}"', "not a number"),
        ("true", "true or false, no number"),
        ("false", "true or false, no number"),
        ("{}", "an object, no number"),
        ('{"a":1}', "an object, no number"),
        ("[]", "an array, no number"),
        ("[1]", "an array, no number"),
        (str(MAX_EXACT_INTEGER + 1), "a whole number that a double would change"),
        (f'"{MAX_EXACT_INTEGER + 1}"', "a whole number that a double would change"),
        ("9" * 5000, "a whole number that a double would change"),
    ],
)
def test_a_value_that_is_no_number_is_invalid_with_a_reason(value: str, reason: str) -> None:
    raw = entries(value)
    assert isinstance(raw, InvalidValue)
    assert raw.reason == reason
    assert raw.text.isascii()
    assert len(raw.text) <= 200


def test_an_invalid_value_spoils_no_other() -> None:
    parsed = parse_metrics(b'{"calls":{"1":1,"2":NaN,"3":"x","4":%s,"5":5}}' % (b"9" * 5000))["calls"]
    assert [raw for _, raw in parsed if not isinstance(raw, InvalidValue)] == [1, 5]
    assert [stamp for stamp, _ in parsed] == list("12345")


@pytest.mark.parametrize("value", ["5", "null", "true", '"ok"', "[1,2]", "NaN", "9" * 5000])
def test_a_value_in_place_of_a_map_is_one_invalid_value_without_a_timestamp(value: str) -> None:
    parsed = parse_metrics(b'{"calls":{"1":1},"status":%s}' % value.encode())
    ((stamp, raw),) = parsed["status"]
    assert stamp == ""
    assert isinstance(raw, InvalidValue)
    assert list(parsed["calls"]) == [("1", 1)]


@pytest.mark.parametrize(
    ("inner", "stamp"),
    [
        ("<item>1</item>", ""),
        ('<figure timestamp="5">1</figure>', ""),
        ('<item timestamp="5"><b/></item>', "5"),
        ('<item timestamp="5">x</item>', "5"),
        ("text", ""),
    ],
)
def test_xml_that_is_no_item_is_invalid(inner: str, stamp: str) -> None:
    ((parsed, raw),) = parse_metrics(f"<result><calls>{inner}</calls></result>".encode())["calls"]
    assert parsed == stamp
    assert isinstance(raw, InvalidValue)


def test_duplicate_keys_are_passed_on() -> None:
    parsed = parse_metrics(b'{"calls":{"1":1,"1":2},"calls":{"3":3}}')
    assert list(parsed["calls"]) == [("1", 1), ("1", 2), ("3", 3)]
    parsed = parse_metrics(
        b'<result><calls><item timestamp="1">1</item></calls><calls><item timestamp="1">2</item></calls></result>'
    )
    assert list(parsed["calls"]) == [("1", 1), ("1", 2)]


def test_foreign_names_are_passed_on_unchanged() -> None:
    assert set(parse_metrics(b'{"\\ud800":{},"a\\u0000b":{},"x\\/y":{}}')) == {"\ud800", "a\0b", "x/y"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"NaN",
        b"null",
        b"5",
        b'"text"',
        b"[1]",
        b"[[]]",
        b'{"calls":{"1":1}',
        b'{"calls":{"1":1}}x',
        b"{}{}",
        b'{"calls":{"1":01}}',
        b'{"calls":{"1":%s}} x' % (b"9" * 5000),
        b'{"calls":{"1":"\xff"}}',
        b'{"calls":' + b"[" * 100_000,
        b'{"calls":' + b'{"a":' * 100_000,
        b'{"calls":%s' % (b"9" * 5000) + b"[" * 100_000,
        b'{"calls":[' + b"[]," * 600_000 + b"[]]}",
        b"{}".decode().encode("utf-16"),
        b"<result>",
        b"<result></result>x",
        b"<result/><result/>",
        b"<other/>",
        b"<result>&nbsp;</result>",
        b"<result>\xff</result>",
        b'<result xmlns="urn:x"/>',
        b'<result xmlns:a="%s"><calls>%s</calls></result>' % (b"u" * 400_000, b"<a:item/>" * 2000),
        b"<result %s/>" % b" ".join(b'a%d=""' % number for number in range(100_001)),
        b'{"calls":"%s\xc3\xa9"}' % (b"x" * 1024 * 1024),
        b"<!DOCTYPE result><result/>",
        b'<!DOCTYPE r [<!ENTITY a "b">]><result><calls>&a;</calls></result>',
        b'<!DOCTYPE r SYSTEM "file:///etc/passwd"><result/>',
        b"<result>" + b"<a>" * 600_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_an_incomplete_document_fails(body: bytes) -> None:
    with pytest.raises(PayloadError):
        parse_metrics(body)


@given(
    st.binary(max_size=60) | st.text('{}[]":,0123456789eE.-NaInfty<>/resultcallsitem= \\u', max_size=60).map(str.encode)
)
@example(b"<a" + b"\xc3")
@examples(200)
def test_any_bytes_give_an_answer_or_our_error(body: bytes) -> None:
    parse_error(body)
    for parse in (parse_metrics, parse_credentials):
        with suppress(PayloadError):
            parse(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=12,
    )
)
@examples(150)
def test_any_json_gives_storable_numbers_or_invalid_values_with_a_reason(document: object) -> None:
    try:
        metrics = parse_metrics(json.dumps(document).encode())
    except PayloadError:
        assert not isinstance(document, dict)
        return
    for parsed in metrics.values():
        for _, raw in parsed:
            if isinstance(raw, InvalidValue):
                assert raw.reason
                assert raw.text.isascii()
                assert raw.text.isprintable()
            elif raw is not None:
                assert not isinstance(raw, bool)
                assert math.isfinite(raw)
                assert float(raw) == raw


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ((WIRE / "error.json").read_bytes(), "Invalid start parameter."),
        ((WIRE / "error.xml").read_bytes(), "Invalid start parameter."),
        (b'{"error":" a\\nb\\u0000\\u001b "}', "a\nb\x00\x1b"),
        (b'{"error":{"a":1}}', None),
        (b'{"calls":{}}', None),
        (b"<html><error>x</error></html>", None),
        (b"<result><error/></result>", None),
        (b"oops", None),
        (b"", None),
    ],
)
def test_the_message_of_an_error_body(body: bytes, text: str | None) -> None:
    assert parse_error(body) == text


def test_credentials() -> None:
    expected = ("57b264aa1b794ff89d4effaafdf5e4b0", "25d421b1ee6c44daa2d34808e9466f5c")
    assert parse_credentials((WIRE / "auth.json").read_bytes()) == expected
    assert (
        parse_credentials(
            b"<result><login>%s</login><password>%s</password></result>" % tuple(map(str.encode, expected))
        )
        == expected
    )


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"login":"canary"}',
        b'{"login":"","password":"canary"}',
        b'{"login":"a","password":""}',
        b'{"login":"a:b","password":"canary"}',
        b'{"login":1,"password":"canary"}',
        b'{"login":"a","password":"canary\\ud800"}',
        b'{"login":"a\\r\\n","password":"canary"}',
        b'{"login":"a","password":"canary\\u0000"}',
        b'{"login":"a","password":"%s"}' % (b"canary" * 1000),
        b'{"login":"a","password":null}',
        b'{"login":"a","password":"canary"',
        b"<result><login>canary</login></result>",
        b"<result><login>canary</login><password/></result>",
    ],
)
def test_invalid_credentials_fail_and_are_not_quoted(body: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_credentials(body)
    assert "canary" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    ("body", "html", "document"),
    [
        (b"\n<!DOCTYPE html><p>", True, False),
        (b"<HTML>", True, False),
        (b'<?xml version="1.0"?><html xmlns="x">', True, False),
        (b"<result>", False, True),
        (b" {", False, True),
        (b"\xef\xbb\xbf[]", False, True),
        (b"Service unavailable", False, False),
        (b"", False, False),
    ],
)
def test_web_pages_and_documents_are_recognised(body: bytes, html: bool, document: bool) -> None:  # noqa: FBT001 - a table's columns
    assert (is_html(body), is_document(body)) == (html, document)


@given(st.text(max_size=300))
@examples(50)
def test_escaped_text_is_short_printable_ascii(text: str) -> None:
    assert escape_text(text).isascii()
    assert escape_text(text).isprintable()
    assert len(escape_text(text)) <= 200
