"""How many quota windows a number of requests takes, and how long: the figures of `plan` and of the progress line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Eta(NamedTuple):
    """Quota windows begun, and seconds until the last request is sent."""

    windows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Supply:
    """What may be sent, and when: an account's quota as seen now."""

    per_window: int  # requests, less the reserve
    window: float  # seconds
    rate: float  # requests per second
    left: int  # requests that the present window still allows
    until_reset: float  # seconds to its end


def estimate_eta(requests: int, supply: Supply) -> Eta:
    """The earliest end of so many requests if nobody else spends."""
    if requests <= 0:
        return Eta(0, 0.0)
    left = min(supply.left, supply.per_window)
    if requests <= left:
        return Eta(1, requests / supply.rate)
    later = -(-(requests - left) // supply.per_window)
    last = requests - left - (later - 1) * supply.per_window
    by_quota = supply.until_reset + (later - 1) * supply.window + last / supply.rate
    return Eta(later + (left > 0), max(by_quota, requests / supply.rate))
