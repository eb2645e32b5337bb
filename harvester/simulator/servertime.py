"""Clock of the simulated server: the true time with an offset, a drift and steps."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache

from harvester.simulator.options import Options


def server_time(options: Options, now: float) -> float:
    """Return the server's time at the true time `now`; both in epoch seconds."""
    stepped = sum(step for moment, step in options.clock_steps if now >= moment)
    drifted = (now - options.clock_origin) * options.clock_drift * 1e-6
    return now + options.clock_offset + stepped + drifted


@lru_cache(maxsize=256)
def http_date(second: int) -> str:
    """Return the value of a Date header."""
    return formatdate(second, usegmt=True)
