"""Changes of the range limits of one account, to be stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from harvester.core.model import RangeKey, RangeLimits
from harvester.core.range_limits import RangeLimitTracker
from harvester.events import Event
from harvester.runner.ports import Observer


class LimitChanges:
    """Comparison of the trackers' limits with those taken last."""

    def __init__(self, limit_trackers: Mapping[RangeKey, RangeLimitTracker]) -> None:
        self._limit_trackers = limit_trackers
        self._known = {key: one.limits for key, one in limit_trackers.items()}

    def take(self, today: date, emit: Observer) -> dict[RangeKey, RangeLimits]:
        """Return the limits that have changed since the last call, and emit a last day served that was not known."""
        changed: dict[RangeKey, RangeLimits] = {}
        for key, limit_tracker in self._limit_trackers.items():
            before, now = self._known[key], limit_tracker.limits
            if now != before:
                changed[key] = self._known[key] = now
            if now.lag is not None and now.lag != before.lag:
                last = limit_tracker.end_to_try(today)
                emit(Event.NOT_SERVED_YET, resource=key[0], period=str(key[1]), serves_until=last)
        return changed
