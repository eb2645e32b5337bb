"""State of a plan that outlives its recall by a newer one."""

from __future__ import annotations

from dataclasses import dataclass, field

from harvester.core.breaker import Breaker
from harvester.core.model import Slice
from harvester.core.work_queue import Entry


@dataclass(slots=True)
class Progress:
    """State of a plan that outlives its recall by a newer one, for the coordinator of the newer one.

    A daemon may recall each plan after a minute, while a time-out takes one, too: attempts and searches that began
    from the start each time would never end, and an outage would never be recognised.
    """

    breaker: Breaker = field(default_factory=Breaker)
    last_outage: str = ""
    entries: dict[Slice, Entry] = field(default_factory=dict)  # those with attempts or a search, by the whole slice
