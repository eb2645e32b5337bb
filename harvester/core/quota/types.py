"""Data types of the quota: the window as its client sees it, the token, and the answers of `acquire`."""

import math
from dataclasses import dataclass, field
from enum import Enum, auto

TRUSTED_AFTER = 3  # answers without a Reset, after which an assumed window is trusted


class WindowCertainty(Enum):
    """Source of a window's end; see `window`."""

    GUESSED = auto()
    ASSUMED = auto()
    STATED = auto()


@dataclass(slots=True, eq=False)
class Window:
    """A window of the server, as its client sees it."""

    end: int  # server's epoch second
    certainty: WindowCertainty
    entered: float  # monotonic
    stated_at: float = math.inf  # monotonic: an answer had named it by then, so later requests are counted no earlier
    spent: int = 0  # own requests that it has counted or may count
    remaining: int | None = None  # lowest Remaining received for it, less the requests lost since
    others: int = 0  # requests of other clients in it, as far as the counts show
    unnamed: int = 0  # answers that named no window
    not_before: float = -math.inf  # monotonic: it does not end earlier, whatever the clocks say
    reappeared: int = 0  # times that an answer named it after it was left

    @property
    def known(self) -> bool:
        """True if more than one request may be in flight."""
        return self.certainty is WindowCertainty.STATED or self.unnamed >= TRUSTED_AFTER


@dataclass(slots=True, eq=False)
class Token:
    """Permission to send one request; release it exactly once, with `observe`, `lost` or `unused`."""

    sent: float
    window: Window


@dataclass(frozen=True, slots=True)
class Denied:
    """No permission before `until` (monotonic), unless an answer is observed earlier."""

    until: float


@dataclass(frozen=True, slots=True)
class Block:
    """Requests to store as spent in advance: `size` more in `window`, which ends at `end`.

    Store `record(block)` and call `stored(block)`, then ask again.
    """

    size: int
    window: Window = field(repr=False)
    end: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of the quota for display."""

    limit: int  # requests per window
    remaining: int  # requests that may still be sent in the current window
    resets_at: int  # server's epoch second at which it ends, as far as known
    paused_until: int | None = None  # server's epoch second of the end of a pause that the API asked for
    long_pause: bool = False  # it lasts more than a minute in all
