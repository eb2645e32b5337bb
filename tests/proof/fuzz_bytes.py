"""Inputs of the guided fuzz: one string of bytes defines everything, so that every part of it can be mutated.

| bytes | meaning |
|---|---|
| the first | kind: an answer (two in four), an answer to be compressed and mutated, or headers |
| three more | status, slice, calendar |
| of an answer: all others | the body |
| of the other kinds: up to a line's end | random choices of the check, see BytesRandom |
| the other lines | the body to be compressed, or values of headers, five lines per answer, an empty one for none |
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import product
from pathlib import Path
from random import Random

from harvester.core.model import RESOURCES, Batch, Series, Slice
from harvester.core.period import Period
from harvester.errors import HarvesterError
from tests.proof.fuzz_answers import check_answer, check_compressed, check_headers
from tests.proof.fuzz_inputs import (
    CALENDARS,
    HEADER_PARTS,
    HEADERS,
    MUTATIONS,
    PHONE,
    PUBLISHED,
    SMALL_MUTATIONS,
    STATUSES,
    Input,
    make_headers,
    make_input,
)

HEAD = 4
ANSWER, COMPRESSED, HEADERS_ONLY = 0, 2, 3  # kinds, by the first byte
CASES = Path(__file__).parent / "cases"
PIECES = tuple(
    Slice(Series("main", resource, PHONE, period), date(2018, 2, 1), last)
    for resource, period, last in product(RESOURCES, Period, (date(2018, 2, 8), date(2018, 2, 28), date(2018, 3, 31)))
)
# Bodies beyond the limits of nesting, metrics and rejects.
_LARGE = (
    *(b'{"calls":' + b"[" * 3_000, b"<result>" + b"<calls>" * 2_000),
    b"{%s}" % b",".join(b'"m%d":[]' % number for number in range(300)),
    b'{"calls":{"1517461200":1,%s}}' % b",".join(b'"%d":[]' % number for number in range(1_500)),
)
_MAX_DESCRIPTION_LENGTH = 2_000  # characters
_ANSWERS = 12  # with headers in one input


class BytesRandom(Random):
    """Random generator whose numbers come from bytes; after their end, from a fixed seed."""

    def __init__(self, choices: bytes) -> None:
        super().__init__(0)
        self._choices = choices
        self._at = 0

    def getrandbits(self, k: int) -> int:
        """Return `k` bits of the next bytes."""
        begin, self._at = self._at, self._at + (k + 7) // 8
        if self._at > len(self._choices):
            return super().getrandbits(k)
        return int.from_bytes(self._choices[begin : self._at], "little") & ((1 << k) - 1)

    def random(self) -> float:
        """Return a number made of two bytes."""
        return self.getrandbits(16) / 2**16


def kind(data: bytes) -> int:
    """Return ANSWER, COMPRESSED or HEADERS_ONLY."""
    return (ANSWER, ANSWER, COMPRESSED, HEADERS_ONLY)[data[0] % 4] if data else ANSWER


def read_input(data: bytes) -> Input:
    """Return the answer that the bytes define."""
    _, status, piece, calendar = data[:HEAD].ljust(HEAD, b"\0")
    return Input(
        data[HEAD:],
        PIECES[piece % len(PIECES)],
        CALENDARS[calendar % len(CALENDARS)],
        STATUSES[status % len(STATUSES)],
    )


def write_input(given: Input) -> bytes:
    """Return the bytes that `read_input` reads as this answer."""
    head = (ANSWER, STATUSES.index(given.status), PIECES.index(given.piece), CALENDARS.index(given.calendar))
    return bytes(head) + given.body


def describe(data: bytes) -> str:
    """Return an input in readable form."""
    given = repr(read_input(data) if kind(data) == ANSWER else data)
    return given if len(given) <= _MAX_DESCRIPTION_LENGTH else f"{given[:_MAX_DESCRIPTION_LENGTH]}..."


def check_input(data: bytes) -> Batch | HarvesterError | None:
    """Check one input; return the result of an answer, None for the other kinds."""
    if kind(data) == ANSWER:
        return check_answer(read_input(data))
    choices, _, text = data[HEAD:].partition(b"\n")
    if kind(data) == COMPRESSED:
        check_compressed(BytesRandom(choices), text)
    else:
        lines = iter(text.decode("utf-8", "surrogateescape").split("\n"))  # as the HTTP library reads headers
        check_headers(BytesRandom(choices), lambda: _next_headers(lines), _ANSWERS)
    return None


def _next_headers(lines: Iterator[str]) -> dict[str, str]:
    return {name: line for name, line in zip(HEADERS, lines, strict=False) if line}


def mutate(random: Random, data: bytes) -> bytes:
    """Return the input after a mutation that uses its structure."""
    head, text = data[:HEAD], data[HEAD:]
    if random.random() < 0.1:
        at = random.randrange(HEAD)
        return head[:at] + random.randbytes(1) + head[at + 1 :] + text
    if kind(data) == HEADERS_ONLY and random.random() < 0.8:
        lines = text.split(b"\n")
        parts = random.choices(HEADER_PARTS, k=random.randrange(4))
        value = random.choice(("".join(parts), make_headers(random).get(random.choice(HEADERS), "")))
        lines[random.randrange(len(lines))] = value.encode("utf-8", "surrogatepass")
        return head + b"\n".join(lines)
    return head + random.choice(SMALL_MUTATIONS if random.random() < 0.5 else MUTATIONS)(random, text)


def first_inputs(seeds: int) -> Iterator[bytes]:
    """Yield published bodies, too large ones, inputs that once failed, and those of the first `seeds` seeds."""
    for piece in PIECES:
        for body in (*PUBLISHED.get(piece.series.resource, ()), *_LARGE):
            yield write_input(Input(body, piece, CALENDARS[0], 200))
    for path in sorted(CASES.iterdir()):
        text = path.read_bytes()
        yield text if path.suffix == ".input" else write_input(Input(text, PIECES[0], CALENDARS[0], 200))
    for seed in range(seeds):
        given = make_input(seed)
        yield write_input(given)
        random = Random(seed)  # noqa: S311 - no secret
        choices = random.randbytes(100).replace(b"\n", b"")
        if seed % 4 == 0:
            yield bytes((COMPRESSED, 0, 0, 0)) + choices + b"\n" + given.body[:2000]
        if seed % 4 == 1:
            answers = [make_headers(random) for _ in range(_ANSWERS)]
            lines = [headers.get(name, "").replace("\n", "") for headers in answers for name in HEADERS]
            yield bytes((HEADERS_ONLY, 0, 0, 0)) + choices + b"\n" + "\n".join(lines).encode("utf-8", "surrogatepass")
