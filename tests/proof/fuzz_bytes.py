"""The guided fuzz's inputs: one string of bytes says everything, so that every part of it can be searched.

| bytes | say |
|---|---|
| the first | what the rest is: an answer (two in four), an answer to be compressed and spoiled, or headers |
| three more | status, slice, calendar |
| an answer: all others | the body |
| else: up to a line's end | the luck of the judge, see Drawn |
| the other lines | the body to be compressed, or the headers' values, five lines an answer, an empty one for none |
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import product
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from harvester.core.model import RESOURCES, Batch, Series, Slice
from harvester.core.period import Period
from tests.proof.fuzz_answers import judge, judge_coding, judge_headers
from tests.proof.fuzz_inputs import (
    CALENDARS,
    GENTLE,
    HEADER_PARTS,
    HEADERS,
    MUTATIONS,
    PHONE,
    PUBLISHED,
    STATUSES,
    Input,
    make_headers,
    make_input,
)

if TYPE_CHECKING:
    from harvester.errors import HarvesterError

HEAD = 4
ANSWER, PACKED, QUOTA = 0, 2, 3  # what an input's first byte says
CASES = Path(__file__).parent / "cases"
PIECES = tuple(
    Slice(Series("main", resource, PHONE, period), date(2018, 2, 1), last)
    for resource, period, last in product(RESOURCES, Period, (date(2018, 2, 8), date(2018, 2, 28), date(2018, 3, 31)))
)
# Bounds that only much of the same thing reaches: nesting, metrics, rejects.
_MUCH = (
    *(b'{"calls":' + b"[" * 3_000, b"<result>" + b"<calls>" * 2_000),
    b"{%s}" % b",".join(b'"m%d":[]' % number for number in range(300)),
    b'{"calls":{"1517461200":1,%s}}' % b",".join(b'"%d":[]' % number for number in range(1_500)),
)
_LONGEST_TOLD = 2_000  # characters
_ANSWERS = 12  # whose headers one input has


class Drawn(Random):
    """Luck that bytes decide, while they last; then what always comes after them."""

    def __init__(self, choices: bytes) -> None:
        super().__init__(0)
        self._choices = choices
        self._at = 0

    def getrandbits(self, k: int) -> int:
        """So many bits of the next bytes."""
        begin, self._at = self._at, self._at + (k + 7) // 8
        if self._at > len(self._choices):
            return super().getrandbits(k)
        return int.from_bytes(self._choices[begin : self._at], "little") & ((1 << k) - 1)

    def random(self) -> float:
        """Two bytes' worth."""
        return self.getrandbits(16) / 2**16


def kind(data: bytes) -> int:
    """ANSWER, PACKED or QUOTA."""
    return (ANSWER, ANSWER, PACKED, QUOTA)[data[0] % 4] if data else ANSWER


def read_input(data: bytes) -> Input:
    """An answer."""
    _, status, piece, calendar = data[:HEAD].ljust(HEAD, b"\0")
    return Input(
        data[HEAD:],
        PIECES[piece % len(PIECES)],
        CALENDARS[calendar % len(CALENDARS)],
        STATUSES[status % len(STATUSES)],
    )


def write_input(given: Input) -> bytes:
    """The bytes that `read_input` reads as this answer."""
    head = (ANSWER, STATUSES.index(given.status), PIECES.index(given.piece), CALENDARS.index(given.calendar))
    return bytes(head) + given.body


def told(data: bytes) -> str:
    """An input as a person reads it."""
    given = repr(read_input(data) if kind(data) == ANSWER else data)
    return given if len(given) <= _LONGEST_TOLD else f"{given[:_LONGEST_TOLD]}..."


def judge_bytes(data: bytes) -> Batch | HarvesterError | None:
    """All of one input; what an answer became, None for the others."""
    if kind(data) == ANSWER:
        return judge(read_input(data))
    choices, _, text = data[HEAD:].partition(b"\n")
    if kind(data) == PACKED:
        judge_coding(Drawn(choices), text)
    else:
        lines = iter(text.decode("utf-8", "surrogateescape").split("\n"))  # as HTTP's library reads headers
        judge_headers(Drawn(choices), lambda: _next_headers(lines), _ANSWERS)
    return None


def _next_headers(lines: Iterator[str]) -> dict[str, str]:
    return {name: line for name, line in zip(HEADERS, lines, strict=False) if line}


def change(luck: Random, data: bytes) -> bytes:
    """A mutation that knows the structure."""
    head, text = data[:HEAD], data[HEAD:]
    if luck.random() < 0.1:
        at = luck.randrange(HEAD)
        return head[:at] + luck.randbytes(1) + head[at + 1 :] + text
    if kind(data) == QUOTA and luck.random() < 0.8:
        lines = text.split(b"\n")
        parts = luck.choices(HEADER_PARTS, k=luck.randrange(4))
        value = luck.choice(("".join(parts), make_headers(luck).get(luck.choice(HEADERS), "")))
        lines[luck.randrange(len(lines))] = value.encode("utf-8", "surrogatepass")
        return head + b"\n".join(lines)
    return head + luck.choice(GENTLE if luck.random() < 0.5 else MUTATIONS)(luck, text)


def beginnings(seeds: int) -> Iterator[bytes]:
    """Where the search begins: what is published, what is too much, what hurt once, and so many of the seeded fuzz."""
    for piece in PIECES:
        for body in (*PUBLISHED.get(piece.series.resource, ()), *_MUCH):
            yield write_input(Input(body, piece, CALENDARS[0], 200))
    for path in sorted(CASES.iterdir()):
        text = path.read_bytes()
        yield text if path.suffix == ".input" else write_input(Input(text, PIECES[0], CALENDARS[0], 200))
    for seed in range(seeds):
        given = make_input(seed)
        yield write_input(given)
        luck = Random(seed)  # noqa: S311 - no secret
        choices = luck.randbytes(100).replace(b"\n", b"")
        if seed % 4 == 0:
            yield bytes((PACKED, 0, 0, 0)) + choices + b"\n" + given.body[:2000]
        if seed % 4 == 1:
            told = [make_headers(luck) for _ in range(_ANSWERS)]
            lines = [headers.get(name, "").replace("\n", "") for headers in told for name in HEADERS]
            yield bytes((QUOTA, 0, 0, 0)) + choices + b"\n" + "\n".join(lines).encode("utf-8", "surrogatepass")
