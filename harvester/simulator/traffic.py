"""Traffic of one telephone number on one day: a pure function of (seed, phone, day).

A `Tally` holds raw counts. All of them are whole numbers, so sums over days and phones are exact in any order; `world`
computes the API's figures from tallies as the last step. Only +, -, * and / are used here: IEEE 754 defines them to the
bit, unlike powers and sines, so every machine simulates the same traffic.

Rejected: drawing each figure by itself. Figures that contradict each other (errors without calls) look wrong on every
chart, and the ratio of a week could not be computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from harvester.simulator.chance import numbers

_ORIGIN = date(2018, 1, 1).toordinal()
_YEAR = 365.25
_WORKDAYS = (1.0, 1.08, 1.05, 1.02, 0.9)  # Monday to Friday
_SIZES = (0.4, 3.0, 12.0, 25.0, 40.0, 80.0, 150.0, 300.0, 600.0, 1500.0)  # mean calls a day; the first is a quiet one


class Tally(NamedTuple):
    """Raw counts of a period."""

    calls: int = 0
    js_errors: int = 0
    fetch_errors: int = 0
    load_ms: int = 0  # page loading of all calls, milliseconds
    call_tenths: int = 0  # tenths of a minute
    transfers: int = 0
    transfer_tenths: int = 0
    log_events: int = 0
    loops: int = 0
    form_items: int = 0
    callers: int = 0  # unique: the only count that is not additive

    def of_calls(self, calls: int) -> Tally:
        """Return the part of the counts that belongs to the first `calls` calls."""
        if calls >= self.calls:
            return self
        if calls <= 0:
            return NO_TRAFFIC
        return Tally._make(-(-count * calls // self.calls) for count in self)


NO_TRAFFIC = Tally()


def merge(tallies: list[Tally]) -> Tally:
    """Return several tallies as one.

    Callers are unique: those of the tally with the most, and three in five of the others, are counted.
    """
    if len(tallies) == 1:
        return tallies[0]
    if not tallies:
        return NO_TRAFFIC
    columns = list(zip(*tallies, strict=True))
    most = max(columns[-1])
    callers = most + (sum(columns[-1]) - most) * 3 // 5
    return Tally._make((*map(sum, columns[:-1]), callers))


@dataclass(frozen=True, slots=True)
class PhoneTraits:
    """Parameters of the traffic of one number."""

    calls: float  # mean per day in 2018
    growth: float  # share per year
    weekend: float  # share of a workday's traffic on a Saturday
    idle: float  # share of days without any call
    errors: float  # per call
    load_ms: float  # per call
    tenths: float  # tenths of a minute per call
    transfers: float  # share of calls
    items: float  # per call


@lru_cache(maxsize=4096)
def traits_of(seed: int, phone: str) -> PhoneTraits:
    """Return the parameters of the traffic of this number."""
    size, growth, weekend, errors, load, length, transfers, items = numbers(8, seed, "phone", phone)
    quiet = size < 1 / len(_SIZES)
    return PhoneTraits(
        calls=_SIZES[int(size * len(_SIZES))] * (0.8 + 0.4 * growth),
        growth=-0.04 + 0.2 * growth,
        weekend=0.15 + 0.5 * weekend if weekend < 0.8 else 1.15,  # noqa: PLR2004 - one in five is busiest on weekends
        idle=0.3 if quiet else 0.012,
        errors=0.06 * errors * errors,
        load_ms=60 + 900 * load * load,
        tenths=12 + 60 * length,
        transfers=0.4 * transfers,
        items=3 + 12 * items,
    )


def day_tally(seed: int, phone: str, day: int) -> Tally:
    """Return the final counts of a phone's day (`day`: proleptic ordinal)."""
    traits = traits_of(seed, phone)
    idle, daily, rounding, js, fetch, load, length, moved, logs, loops, items, unique = numbers(12, seed, phone, day)
    if idle < traits.idle:
        return NO_TRAFFIC
    weekday = (day - 1) % 7
    rhythm = _WORKDAYS[weekday] if weekday < len(_WORKDAYS) else traits.weekend * (1.0 if weekday % 2 else 0.8)
    trend = min(4.0, max(0.2, 1 + traits.growth * ((day - _ORIGIN) / _YEAR)))
    calls = int(traits.calls * rhythm * trend * (0.75 + 0.5 * daily) + rounding)
    if not calls:
        return NO_TRAFFIC
    call_tenths = calls + int(calls * traits.tenths * (0.8 + 0.4 * length))
    transfers = int(calls * traits.transfers * (0.7 + 0.6 * moved))
    form_items = int(calls * traits.items * (0.8 + 0.4 * items))
    return Tally(
        calls=calls,
        js_errors=int(calls * traits.errors * 2 * js + 0.3),
        fetch_errors=int(calls * traits.errors * fetch + 0.2),
        load_ms=int(calls * traits.load_ms * (0.7 + 0.6 * load)),
        call_tenths=call_tenths,
        transfers=transfers,
        transfer_tenths=call_tenths * transfers // (2 * calls),
        log_events=int(calls * 4 * logs),
        loops=int(form_items * 0.3 * loops),
        form_items=form_items,
        callers=calls - int(calls * 0.35 * unique),
    )
