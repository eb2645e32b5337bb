"""The server's own clock: apart from the true one, drifting, now and then stepped."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harvester.simulator.options import Options


def server_time(options: Options, now: float) -> float:
    """What the server's clock shows at a true moment; epoch seconds both."""
    stepped = sum(step for moment, step in options.clock_steps if now >= moment)
    drifted = (now - options.clock_origin) * options.clock_drift * 1e-6
    return now + options.clock_offset + stepped + drifted


@lru_cache(maxsize=256)
def http_date(second: int) -> str:
    """A Date header."""
    return formatdate(second, usegmt=True)
