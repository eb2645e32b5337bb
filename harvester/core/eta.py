"""Time estimate: how many quota windows a number of requests takes, and how long, for `plan` and the progress line."""

from dataclasses import dataclass
from typing import NamedTuple


class Eta(NamedTuple):
    """Quota windows used, and seconds until the last request is sent."""

    windows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Supply:
    """Requests that an account's quota allows, as known now."""

    per_window: int  # requests, less the reserve
    window: float  # seconds
    rate: float  # requests per second
    left: int  # requests that the current window still allows
    until_reset: float  # seconds to its end


def estimate_eta(requests: int, supply: Supply) -> Eta:
    """Return the earliest end of that many requests if no other client spends any."""
    if requests <= 0:
        return Eta(0, 0.0)
    left = min(supply.left, supply.per_window)
    if requests <= left:
        return Eta(1, requests / supply.rate)
    later = -(-(requests - left) // supply.per_window)
    last = requests - left - (later - 1) * supply.per_window
    by_quota = supply.until_reset + (later - 1) * supply.window + last / supply.rate
    return Eta(later + (left > 0), max(by_quota, requests / supply.rate))
