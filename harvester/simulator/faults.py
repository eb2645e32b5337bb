"""What goes wrong on the way, and how it looks.

One draw decides each request's fate; at most one fault strikes it. The draw's key is the request's path and how
often it was asked for, so a slice meets the same faults whatever is asked for beside it.

A fault that spoils the transport or the framing is always visible to a careful client. `absent`, `truncated`, `nulls`,
`nan` and `unknown` are whole, well-formed answers with something odd inside: a harvest under these differs from the
truth, and should.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING

from harvester.simulator.chance import number, octets

if TYPE_CHECKING:
    from harvester.simulator.world import Number

HTML = b"<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%s</h1></body></html>\n"
UNKNOWN_METRIC = "speech_minutes"  # one that no release of the harvester has heard of


class Fault(StrEnum):
    """A kind of trouble. The value is its name in options, and the field of `Faults`."""

    SERVER_ERROR = "server_error"  # 500 with the API's own error body
    BAD_GATEWAY = "bad_gateway"  # 502 with a proxy's HTML page
    UNAVAILABLE = "unavailable"  # 503, likewise
    HTML = "html"  # 200 with a proxy's HTML page
    THROTTLE = "throttle"  # 429 although the quota is not spent
    DEAD = "dead"  # the account's temporary credentials die now: 401
    DROP = "drop"  # the connection goes before the status line; the request has counted
    DROP_BODY = "drop_body"  # the connection goes after the headers
    CUT = "cut"  # Content-Length promises more than comes
    CUT_CHUNKED = "cut_chunked"  # the last chunk never comes
    JUNK = "junk"  # random bytes under the right label
    SLOW = "slow"  # the answer begins late
    SLOW_BODY = "slow_body"  # the body trickles
    ABSENT = "absent"  # one period is missing from all metrics
    TRUNCATED = "truncated"  # the later half of all periods is missing, in valid JSON or XML
    NULLS = "nulls"  # one value is null
    NAN = "nan"  # one value is NaN, which JSON does not know
    UNKNOWN = "unknown"  # a metric never heard of


PROXY = frozenset({Fault.BAD_GATEWAY, Fault.UNAVAILABLE, Fault.HTML})
"""Answers from in front of the API: no quota headers, and the request never counted."""

DISTORTING = frozenset({Fault.ABSENT, Fault.TRUNCATED, Fault.NULLS, Fault.NAN, Fault.UNKNOWN})
"""Well-formed answers with something odd inside."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The probability of each kind, for one request."""

    server_error: float = 0.0
    bad_gateway: float = 0.0
    unavailable: float = 0.0
    html: float = 0.0
    throttle: float = 0.0
    dead: float = 0.0
    drop: float = 0.0
    drop_body: float = 0.0
    cut: float = 0.0
    cut_chunked: float = 0.0
    junk: float = 0.0
    slow: float = 0.0
    slow_body: float = 0.0
    absent: float = 0.0
    truncated: float = 0.0
    nulls: float = 0.0
    nan: float = 0.0
    unknown: float = 0.0
    slow_seconds: float = 1.0  # how long `slow` and `slow_body` take

    def __post_init__(self) -> None:
        odds = dict(self._odds())
        if any(not 0 <= share <= 1 for share in odds.values()) or sum(odds.values()) > 1 + 1e-9:
            raise ValueError("The probabilities of all faults together must lie between 0 and 1")
        if self.slow_seconds < 0:
            raise ValueError("slow_seconds must not be negative")

    def strike(self, *key: object) -> Fault | None:
        """The fault of the request with this key, if any."""
        odds = self._odds()
        if not odds:
            return None
        luck = number("fault", *key)
        for fault, share in odds:
            if luck < share:
                return fault
            luck -= share
        return None

    def _odds(self) -> list[tuple[Fault, float]]:
        return [(fault, share) for fault in Fault if (share := getattr(self, fault.value))]


CALM = Faults()
KINDS = tuple(item.name for item in fields(Faults) if item.name != "slow_seconds")


class Ending(StrEnum):
    """How an answer ends."""

    WHOLE = "whole"
    CLOSED = "closed"  # nothing was sent
    CUT = "cut"  # Content-Length promised the whole body, `Reply.sent` bytes of it came
    CUT_CHUNKED = "cut-chunked"  # the same in chunks, without the last one


def cut_length(fault: Fault, length: int, *key: object) -> int:
    """How many bytes of a body come before the connection goes: always too few."""
    return 0 if fault is Fault.DROP_BODY else int(number("cut", *key) * length)


def junk(*key: object) -> bytes:
    """Bytes that are no answer: 0xFF begins neither JSON nor XML, and is no UTF-8."""
    return b"\xff" + octets(200, "junk", *key)


def html(reason: str) -> bytes:
    """A proxy's page."""
    return HTML % (reason.encode(), reason.encode())


def distorted(
    fault: Fault | None, figures: dict[str, dict[int, Number]], *key: object
) -> dict[str, dict[int, Number | None]]:
    """The figures with something odd inside, where this kind of fault does that."""
    odd: dict[str, dict[int, Number | None]] = {metric: dict(values) for metric, values in figures.items()}
    epochs = list(next(iter(odd.values()), {}))
    if not epochs:
        return odd
    which, where = number("metric", *key), number("epoch", *key)
    epoch = epochs[int(where * len(epochs))]
    if fault in {Fault.NULLS, Fault.NAN}:
        list(odd.values())[int(which * len(odd))][epoch] = None if fault is Fault.NULLS else float("nan")
    elif fault is Fault.UNKNOWN:
        odd[UNKNOWN_METRIC] = dict.fromkeys(epochs, 1)
    elif fault in {Fault.ABSENT, Fault.TRUNCATED}:
        gone = {epoch} if fault is Fault.ABSENT else set(epochs[len(epochs) // 2 :])
        odd = {metric: {at: value for at, value in values.items() if at not in gone} for metric, values in odd.items()}
    return odd
