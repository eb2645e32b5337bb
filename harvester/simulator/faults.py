"""Faults of the simulated server and of the network.

Each request has at most one fault, which one random number decides. Its key is the path of the request and how often
the path was requested, so a slice gets the same faults whatever other slices are requested.

A careful client can detect every fault of the transport and of the framing. `absent`, `truncated`, `nulls`, `nan` and
`unknown` are whole, well-formed answers with irregular content: what is stored under these differs from the figures of
the world, and has to.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from harvester.simulator.chance import number, octets
from harvester.simulator.world import Number

_HTML_PAGE = b"<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%s</h1></body></html>\n"
UNKNOWN_METRIC = "speech_minutes"  # that no release of the harvester knows


class Fault(StrEnum):
    """Kind of fault. The value is its name in options, and the field of `Faults`."""

    SERVER_ERROR = "server_error"  # 500 with the API's own error body
    BAD_GATEWAY = "bad_gateway"  # 502 with the HTML page of a proxy
    UNAVAILABLE = "unavailable"  # 503, likewise
    HTML = "html"  # 200 with the HTML page of a proxy
    THROTTLE = "throttle"  # 429 although the quota is not exhausted
    DEAD = "dead"  # the account's temporary credentials expire now: 401
    DROP = "drop"  # the connection closes before the status line; the request has counted
    DROP_BODY = "drop_body"  # the connection closes after the headers
    CUT = "cut"  # Content-Length is larger than the body that is sent
    CUT_CHUNKED = "cut_chunked"  # the last chunk is missing
    JUNK = "junk"  # random bytes with the right content type
    SLOW = "slow"  # the answer begins late
    SLOW_BODY = "slow_body"  # the body arrives slowly
    ABSENT = "absent"  # one period is missing from all metrics
    TRUNCATED = "truncated"  # the later half of all periods is missing, in valid JSON or XML
    NULLS = "nulls"  # one value is null
    NAN = "nan"  # one value is NaN, which is not in JSON
    UNKNOWN = "unknown"  # an unknown metric


PROXY_FAULTS = frozenset({Fault.BAD_GATEWAY, Fault.UNAVAILABLE, Fault.HTML})
"""Answers of a proxy in front of the API: without quota headers, and the request did not count."""

CONTENT_FAULTS = frozenset({Fault.ABSENT, Fault.TRUNCATED, Fault.NULLS, Fault.NAN, Fault.UNKNOWN})
"""Well-formed answers with irregular content."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Probability of each kind of fault for one request."""

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
    slow_seconds: float = 1.0  # duration of `slow` and `slow_body`

    def __post_init__(self) -> None:
        odds = dict(self._odds())
        if any(not 0 <= share <= 1 for share in odds.values()) or sum(odds.values()) > 1 + 1e-9:
            raise ValueError("the sum of the probabilities of all faults must be between 0 and 1")
        if self.slow_seconds < 0:
            raise ValueError("slow_seconds must not be negative")

    def draw(self, *key: object) -> Fault | None:
        """Return the fault of the request with this key; None for none."""
        odds = self._odds()
        if not odds:
            return None
        drawn = number("fault", *key)
        for fault, share in odds:
            if drawn < share:
                return fault
            drawn -= share
        return None

    def _odds(self) -> list[tuple[Fault, float]]:
        return [(fault, share) for fault in Fault if (share := getattr(self, fault.value))]


NO_FAULTS = Faults()
FAULT_NAMES = tuple(item.name for item in fields(Faults) if item.name != "slow_seconds")


class Ending(StrEnum):
    """Way in which an answer ends."""

    WHOLE = "whole"
    CLOSED = "closed"  # nothing was sent
    CUT = "cut"  # Content-Length was that of the whole body, only `Reply.sent` bytes of it were sent
    CUT_CHUNKED = "cut-chunked"  # the same in chunks, without the last one


def cut_length(fault: Fault, length: int, *key: object) -> int:
    """Return how many bytes of a body are sent before the connection closes: always less than all."""
    return 0 if fault is Fault.DROP_BODY else int(number("cut", *key) * length)


def random_body(*key: object) -> bytes:
    """Return bytes that are no answer: 0xFF begins neither JSON nor XML, and is not UTF-8."""
    return b"\xff" + octets(200, "junk", *key)


def html_page(reason: str) -> bytes:
    """Return the page of a proxy."""
    return _HTML_PAGE % (reason.encode(), reason.encode())


def distort(
    fault: Fault | None, figures: dict[str, dict[int, Number]], *key: object
) -> dict[str, dict[int, Number | None]]:
    """Return the figures with the irregular content of a fault; of any other fault, unchanged."""
    changed: dict[str, dict[int, Number | None]] = {name: dict(values) for name, values in figures.items()}
    epochs = list(next(iter(changed.values()), {}))
    if not epochs:
        return changed
    metric, position = number("metric", *key), number("epoch", *key)
    epoch = epochs[int(position * len(epochs))]
    if fault in {Fault.NULLS, Fault.NAN}:
        list(changed.values())[int(metric * len(changed))][epoch] = None if fault is Fault.NULLS else float("nan")
    elif fault is Fault.UNKNOWN:
        changed[UNKNOWN_METRIC] = dict.fromkeys(epochs, 1)
    elif fault in {Fault.ABSENT, Fault.TRUNCATED}:
        missing = {epoch} if fault is Fault.ABSENT else set(epochs[len(epochs) // 2 :])
        changed = {
            name: {at: value for at, value in values.items() if at not in missing} for name, values in changed.items()
        }
    return changed
