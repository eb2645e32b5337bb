"""Inputs of the fuzz of answers: published bodies and headers, mutated by a seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from harvester.core.model import Series, Slice
from harvester.core.period import Calendar, Period, WeekStart

WIRE = Path(__file__).parents[1] / "wire"
CORPUS = tuple(path.read_bytes() for path in sorted(WIRE.iterdir()))
PUBLISHED = {
    resource: [path.read_bytes() for path in sorted(WIRE.glob(f"{resource}.*"))]
    for resource in ("performance", "events", "profile")
}
CALENDARS = (
    Calendar(ZoneInfo("America/New_York")),
    Calendar(ZoneInfo("Europe/Berlin"), WeekStart.MONDAY),
    Calendar(ZoneInfo("Etc/GMT+5")),
)
PHONE = "8005551234"
NUMBERS = (
    *(b"0", b"-0", b"-0.0", b"1e999", b"-1e999", b"1e-999", b"5e-324", b"1.7976931348623157e308", b"NaN", b"Infinity"),
    *(b"9007199254740992", b"9007199254740993", b"-9007199254740993", b"18446744073709551616", b"9" * 400, b"9" * 5000),
    *(b"true", b"null", b'"12"', b'"1e5"', b'"\\u0661"', b'""', b"[]", b"{}", b"[[]]", b'{"a":1}', b"01", b"1.", b".5"),
    *(b"0.1e-5", b"1E+5", b"0x10", b"1_0", b"--1", b'"NaN"', b'" 7 "', b'"\\ud800"', b'"\\u0000"'),
)
TOKENS = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80"),
    *(b"<", b">", b"/>", b"<result>", b"</result>", b"<calls>", b"</calls>", b"<item>", b"</item>", b"<!--", b"-->"),
    *(b'<item timestamp="1517461200">', b"&amp;", b"&#0;", b"&#xD800;", b"&lt;", b"<![CDATA[", b"]]>", b"<?x?>"),
    *(
        b'<!DOCTYPE r [<!ENTITY a "b">]>',
        b"&a;",
        b' xmlns="u"',
        b"\\ud83d",
        b"\\u0000",
        b"\\/",
        b"\r\n",
        b"\xf0\x9f\x98\x80",
    ),
    *(b'"error":"phone"', b'"calls":', b'"1517461200":', b'"login":"a","password":"b"', b"<error>", b"</error>"),
)
HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "date", "retry-after")
HEADER_PARTS = (
    *(
        "0",
        "1",
        "-1",
        "149",
        "150",
        "1e3",
        "9" * 9,
        "9" * 10,
        "9" * 70,
        " 7 ",
        "٣",
        "²",
        "1.5",
        "",
        ",",
        ";",
        "\x00",
        "\ud800",
    ),
    *("Thu, 01 Feb 2018 05:00:00 GMT", "Thu, 01 Feb 2018 05:00:00 +9999", "Thursday, 01-Feb-18 05:00:00 GMT"),
    *("Thu Feb  1 05:00:00 2018", "01 Feb 0000 00:00:00 GMT", "31 Dec 9999 23:59:60 -9900", "1 Feb 18 5:0 EST"),
    *("Feb", "GMT", "-0000", "+24000000000", ":", "99:99:99", "29 Feb 2100", "1 Jan 1970 00:00:00"),
)
STATUSES = (200, 200, 200, 204, 301, 302, 400, 401, 403, 404, 405, 408, 418, 429, 500, 502, 503, 599)


@dataclass(frozen=True)
class Input:
    """Answer that one seed stands for."""

    body: bytes
    piece: Slice
    calendar: Calendar
    status: int


def make_input(seed: int) -> Input:
    """Return the input of a seed: every other one nearly a valid answer, the others anything."""
    random = Random(seed)  # noqa: S311 - no secret
    if random.random() < 0.5:
        return _nearly_valid(random)
    body = random.choice(CORPUS) if random.random() < 0.8 else random_body(random)
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        body = random.choice(MUTATIONS)(random, body)
    resource = random.choice(("performance", "performance", "events", "profile"))
    period = random.choice((Period.DAY, Period.DAY, Period.WEEK, Period.MONTH))
    last = random.choice((date(2018, 2, 8), date(2018, 2, 28), date(2018, 3, 31)))
    piece = Slice(Series("main", resource, PHONE, period), date(2018, 2, 1), last)
    return Input(body, piece, random.choice(CALENDARS), random.choice(STATUSES))


def _nearly_valid(random: Random) -> Input:
    resource = random.choice(("performance", "performance", "events", "profile"))
    body = random.choice(PUBLISHED[resource])
    for _ in range(random.choice((1, 2, 5))):
        body = random.choice(SMALL_MUTATIONS)(random, body)
    piece = Slice(Series("main", resource, PHONE, Period.DAY), date(2018, 2, 1), date(2018, 2, 8))
    return Input(body, piece, CALENDARS[0], 200)


def random_body(random: Random) -> bytes:
    """Return JSON with the structure of an answer and any values, or random bytes."""
    if random.random() < 0.3:
        return random.randbytes(random.randrange(60))
    names = random.choices(
        ("calls", "js_errors", "callers", "x", "", "a b", "x" * 70, "\0", "é"), k=random.randrange(1, 5)
    )
    stamps = random.choices(range(1517461200, 1517461200 + 40 * 86_400, 3600), k=random.randrange(6))
    maps = [
        b"%s:{%s}" % (json.dumps(name).encode(), b",".join(b'"%d":%s' % (at, random.choice(NUMBERS)) for at in stamps))
        for name in names
    ]
    return b"{%s}" % b",".join(maps)


def _flip(random: Random, body: bytes) -> bytes:
    if not body:
        return body
    changed = bytearray(body)
    for _ in range(random.choice((1, 1, 4))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _range(random: Random, body: bytes) -> tuple[int, int]:
    begin = random.randrange(len(body) + 1)
    return begin, min(len(body), begin + random.choice((1, 3, 10, 50, 300)))


def _drop(random: Random, body: bytes) -> bytes:
    begin, end = _range(random, body)
    return body[:begin] + body[end:]


def _repeat(random: Random, body: bytes) -> bytes:
    begin, end = _range(random, body)
    return body[:begin] + body[begin:end] * random.choice((2, 2, 3, 40)) + body[end:]


def _cut(random: Random, body: bytes) -> bytes:
    return body[: random.randrange(len(body) + 1)]


def _insert(random: Random, body: bytes) -> bytes:
    at = random.randrange(len(body) + 1)
    return body[:at] + random.choice(TOKENS) * random.choice((1, 1, 1, 2, 2000)) + body[at:]


def _splice(random: Random, body: bytes) -> bytes:
    other = random.choice(CORPUS)
    return body[: random.randrange(len(body) + 1)] + other[random.randrange(len(other)) :]


def _renumber(random: Random, body: bytes) -> bytes:
    """Replace the value of one entry: after a colon, or between tags."""
    places = [at for at, byte in enumerate(body) if byte in b":>"]
    if not places:
        return body
    begin = random.choice(places) + 1
    end = begin
    while end < len(body) and body[end] in b"0123456789.-":
        end += 1
    return body[:begin] + random.choice(NUMBERS) + body[end:]


def _rekey(random: Random, body: bytes) -> bytes:
    """Replace the timestamp of one entry, or of all entries with that timestamp."""
    old, new = (
        b"1517%d" % random.randrange(461200, 461201),
        b"%d" % random.choice((1517461199, 1517547600, 0, -1, 10**12)),
    )
    return body.replace(old, new, random.choice((1, -1)))


def _rename(random: Random, body: bytes) -> bytes:
    old = random.choice((b"calls", b"js_errors", b"result", b"item", b"timestamp", b"callers"))
    return body.replace(
        old, random.choice((b"calls", b"error", b"x", b"", b"\\u0000", b"login")), random.choice((1, -1))
    )


def _add_metric(random: Random, body: bytes) -> bytes:
    """Add a map, some with an invalid name."""
    name = random.choice(
        ("extra", "calls", "Calls", "select", "x" * 64, "x" * 65, "a b", "\\u0000", "\\ud83d", "-", "é")
    )
    value = random.choice(NUMBERS)
    return body.replace(b"{", b'{"%s":{"1517461200":%s},' % (name.encode(), value), 1)


def _repeat_entry(random: Random, body: bytes) -> bytes:
    """Repeat a timestamp in one map."""
    return body.replace(
        b'"1517547600":', b'"1517547600":%s,"1517547600":' % random.choice(NUMBERS), random.choice((1, -1))
    )


def _recode(random: Random, body: bytes) -> bytes:
    return body.decode("latin-1").encode(random.choice(("utf-8", "utf-16", "utf-16-le", "utf-8-sig", "utf-32")))


BYTE_MUTATIONS: tuple[Callable[[Random, bytes], bytes], ...] = (_flip, _drop, _repeat, _cut, _insert)
MUTATIONS: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(*BYTE_MUTATIONS, _splice, _renumber, _renumber, _renumber, _rekey, _rename, _recode),
)
# The result of these is mostly still an answer.
SMALL_MUTATIONS = (_renumber, _renumber, _renumber, _rekey, _add_metric, _repeat_entry)


def make_headers(random: Random) -> dict[str, str]:
    """Return quota headers, most of them nearly valid."""
    headers = {
        "x-ratelimit-limit": str(random.choice((150, 0, 1, 10**9 - 1))),
        "x-ratelimit-remaining": str(random.choice((149, 0, 1, 10**9 - 1))),
        "x-ratelimit-reset": str(
            random.choice((1517461200, 1517461200 + 900 * random.randrange(-9, 9), 900, 4102444799))
        ),
        "date": random.choice(
            ("Thu, 01 Feb 2018 04:59:59 GMT", "Thu, 31 Dec 2099 23:59:59 GMT", "Sat, 01 Jan 2000 00:00:00 GMT")
        ),
        "retry-after": str(random.choice((0, 1, 900, 86400, 86401))),
    }
    for name in HEADERS:
        chance = random.random()
        if chance < 0.2:
            del headers[name]
        elif chance < 0.4:
            headers[name] = "".join(random.choices(HEADER_PARTS, k=random.randrange(4)))
        elif chance < 0.5:
            headers[name] = "".join(map(chr, random.choices(range(0x3FF), k=random.randrange(40))))
    return headers
