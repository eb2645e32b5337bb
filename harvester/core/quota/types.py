"""The nouns of the quota: a window as we see it, a token, and what `acquire` answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, auto

NAMELESS = 3  # answers without a Reset, one after the other, after which the assumed window is believed


class WindowCertainty(Enum):
    """How much the end of a window is worth."""

    GUESSED = auto()
    ASSUMED = auto()
    STATED = auto()


@dataclass(slots=True, eq=False)
class Window:
    """One window of the server, as we see it."""

    end: int  # server's epoch second
    certainty: WindowCertainty
    entered: float  # monotonic
    told_at: float = math.inf  # monotonic: an answer had named it by then, so later requests are counted no earlier
    spent: int = 0  # requests of ours that it has counted or may count
    remaining: int | None = None  # lowest Remaining told for it, less the requests lost since
    others: int = 0  # requests of somebody else's in it, as far as the counts tell
    nameless: int = 0  # answers that named no window
    not_before: float = -math.inf  # monotonic: it does not end earlier, whatever the clocks say
    kept_at: float = math.inf  # monotonic: when the last of its requests were first kept
    survived: int = 0  # times that it was named again after we had left it

    @property
    def known(self) -> bool:
        """Whether more than one request may be in flight."""
        return self.certainty is WindowCertainty.STATED or self.nameless >= NAMELESS


@dataclass(slots=True, eq=False)
class Token:
    """Leave to send one request; it comes back by exactly one of observe, lost, unused."""

    sent: float
    window: Window


@dataclass(frozen=True, slots=True)
class Granted:
    """Send one request, now."""

    token: Token


@dataclass(frozen=True, slots=True)
class Denied:
    """Nothing may be sent before `until` (monotonic), unless something is observed earlier."""

    until: float


@dataclass(frozen=True, slots=True)
class Block:
    """Allowance to be written down: `size` more requests in `window`, which ends at `end`."""

    size: int
    window: Window = field(repr=False)
    end: int


@dataclass(frozen=True, slots=True)
class Unstored:
    """First write `record(block)` down and call `stored(block)`, then ask again."""

    block: Block


@dataclass(frozen=True, slots=True)
class Snapshot:
    """For display."""

    limit: int  # requests per window
    remaining: int  # requests that we may still send in this one
    resets_at: int  # server's epoch second at which it ends, as far as known
