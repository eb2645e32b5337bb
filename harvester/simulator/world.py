"""Ground truth of the simulator: what VoiceTrends counted, and what an answer at a given moment contains of it.

Everything is a pure function of the world's settings, the series, the requested days and the server's time; no answer
depends on an earlier one. So stored values can be checked one by one against `World.truth`.

Where the behaviour of the real server is unknown, it is a setting with the likely default. In particular a week or
month at the edge of the range counts only the days inside the range, and its key is its own first day.

The counts of a day are final `late_days` local days after its end. Until then some of its calls are missing (one fewer
each day), and today's calls are counted as the day passes. Callers are unique: for several days, or several phones,
they are fewer than the sum, so a week cannot be computed from its days.

ALL is the account's phones merged; if every number is served, ALL is a number of its own.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache, partial
from itertools import groupby
from zoneinfo import ZoneInfo

from harvester.core.model import ALL
from harvester.core.period import Calendar, Period
from harvester.simulator.traffic import NO_TRAFFIC, Tally, day_tally, merge

Number = int | float
Figures = dict[str, dict[int, Number]]
"""Metric -> epoch second of the period's start -> number; in the server's order."""


class Beyond(StrEnum):
    """Answer of the server for days without data."""

    ZERO = "zero"
    ABSENT = "absent"
    REFUSED = "refused"  # the whole request, with a 400


class CutKey(StrEnum):
    """Key of a week or month in which the range begins."""

    BUCKET = "bucket"  # the midnight of the bucket's first day, which lies before the range
    RANGE = "range"  # the midnight of the range's first day


def _ratio(part: int, whole: int, digits: int = 4) -> Number:
    return round(part / whole, digits) if whole else 0


FORMULAS: dict[str, dict[str, Callable[[Tally], Number]]] = {
    "performance": {
        "calls": lambda t: t.calls,
        "js_errors": lambda t: t.js_errors,
        "js_errors_per_call": lambda t: _ratio(t.js_errors, t.calls),
        "fetch_errors": lambda t: t.fetch_errors,
        "fetch_errors_per_call": lambda t: _ratio(t.fetch_errors, t.calls),
        "average_page_load": lambda t: _ratio(t.load_ms, 1000 * t.calls, 3),
    },
    "volume": {
        "calls": lambda t: t.calls,
        "call_minutes": lambda t: t.call_tenths / 10,
        "transfers": lambda t: t.transfers,
        "transfer_minutes": lambda t: t.transfer_tenths / 10,
    },
    "events": {
        "calls": lambda t: t.calls,
        "log_events": lambda t: t.log_events,
        "loops_per_call": lambda t: _ratio(t.loops, t.calls),
        "form_items": lambda t: t.form_items,
        "loops": lambda t: t.loops,
        "average_form_items": lambda t: _ratio(t.form_items, t.calls),
    },
    "profile": {
        "calls": lambda t: t.calls,
        "callers": lambda t: t.callers,
    },
}


@dataclass(frozen=True)
class World:
    """Traffic of one account's numbers, and the calendar of its days.

    `given` replaces the drawn traffic: these days for each phone and for ALL, and no traffic on other days.
    """

    seed: int = 0
    calendar: Calendar = field(default_factory=lambda: Calendar(ZoneInfo("America/New_York")))
    phones: tuple[str, ...] | None = None  # None: any number is served
    given: Mapping[date, Tally] | None = None
    first_day: date | None = None
    before: Beyond = Beyond.ZERO  # days before first_day
    future: Beyond = Beyond.ZERO  # days after today
    late_days: int = 0
    cut_key: CutKey = CutKey.BUCKET

    def serves(self, phone: str) -> bool:
        """Return True if the account owns this number."""
        return self.phones is None or phone == ALL or phone in self.phones

    def tally(self, phone: str, day: date) -> Tally:
        """Return the final counts of one day."""
        if self.first_day is not None and day < self.first_day:
            return NO_TRAFFIC
        if self.given is not None:
            return self.given.get(day, NO_TRAFFIC)
        return _month(self.seed, self._parts(phone), day.year, day.month)[day.day - 1]

    def tally_at(self, phone: str, day: date, now: float) -> Tally:
        """Return the counts of one day as the server reports them at `now` (epoch seconds of its own clock)."""
        return merge([self._counted(self.tally(part, day), day, now) for part in self._parts(phone)])

    def _counted(self, final: Tally, day: date, now: float) -> Tally:
        age = (self.calendar.local_date(now) - day).days
        if age < 0:
            return NO_TRAFFIC
        calls = final.calls - max(0, self.late_days + 1 - age if self.late_days else 0)
        if age == 0:
            begin, end = (self.calendar.midnight(day + timedelta(days=ahead)) for ahead in (0, 1))
            share = min(1.0, max(0.0, (now - begin) / (end - begin)))
            calls = min(calls, int(final.calls * (share * share * (3 - 2 * share))))  # fewer calls at night
        return final.of_calls(calls)

    def truth(
        self, resource: str, phone: str, period: Period, first: date, last: date, now: float | None = None
    ) -> Figures:
        """Return the server's figures for a range, both days inclusive.

        Args:
            resource: one of FORMULAS.
            phone: a number, or ALL.
            period: the length of each bucket.
            first: the range's first day.
            last: its last day.
            now: epoch second of the server's clock; None for the final figures.
        """
        buckets = [(key, merge(tallies)) for key, tallies in self._buckets(phone, period, first, last, now)]
        return {
            metric: {key: _without_zero_fraction(formula(tally)) for key, tally in buckets}
            for metric, formula in FORMULAS[resource].items()
        }

    def _buckets(
        self, phone: str, period: Period, first: date, last: date, now: float | None
    ) -> Iterator[tuple[int, list[Tally]]]:
        today = date.max if now is None else self.calendar.local_date(now)
        last_final = today - timedelta(days=self.late_days + 1)
        days = _days(self.calendar, *self._within(first, last, today))
        for bucket, members in groupby(days, partial(self.calendar.floor, period)):
            yield (
                self._key(bucket, first),
                [
                    self.tally(phone, day) if now is None or day <= last_final else self.tally_at(phone, day, now)
                    for day in members
                ],
            )

    def _within(self, first: date, last: date, today: date) -> tuple[date, date]:
        if self.first_day is not None and self.before is not Beyond.ZERO:
            first = max(first, self.first_day)
        if self.future is not Beyond.ZERO:
            last = min(last, today)
        return first, last

    def _key(self, bucket: date, first: date) -> int:
        return self.calendar.midnight(max(bucket, first) if self.cut_key is CutKey.RANGE else bucket)

    def _parts(self, phone: str) -> tuple[str, ...]:
        merges = phone == ALL and self.phones and self.given is None
        return self.phones if merges and self.phones else (phone,)


def _without_zero_fraction(value: Number) -> Number:
    """Return a whole number as an int, because PHP prints no fraction of zero."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@lru_cache(maxsize=256)
def _days(calendar: Calendar, first: date, last: date) -> tuple[date, ...]:
    """Return the days of a range that exist in the zone. Cached, because most requests have the same few ranges."""
    return tuple(calendar.starts(Period.DAY, first, last))


@lru_cache(maxsize=4096)
def _month(seed: int, phones: tuple[str, ...], year: int, month: int) -> tuple[Tally, ...]:
    """Return the counts of these phones together for each day of a month; a month is drawn and cached at once."""
    first = date(year, month, 1).toordinal()
    days = range(first, first + monthrange(year, month)[1])
    return tuple(merge([day_tally(seed, phone, day) for phone in phones]) for day in days)
