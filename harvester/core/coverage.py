"""Coverage: the days of a series that are stored, as few stretches. Planning subtracts it from what is desired.

A Stretch gives two lower bounds for the time at which each of its periods was asked for: on `asked_on` or later, and
at least `lag` days after the end of the period itself. A period is complete if it was asked for after its end
(lag >= 0), and final if that was `settle_days` after it. Nothing else is stored, so both become true without a write.

One bound is not enough. A daemon asks for each day on another day, so ten years with the date of asking alone would be
3,650 stretches. Final neighbours are joined under the smaller of each bound, which claims nothing untrue. The cost:
after `settle_days` is raised, some days of a joined stretch look less final than they are and are fetched once more.

Invariants (tests/unit/core/test_coverage.py):
- the stretches of a series are disjoint and in order; an overlay covers what was covered before, plus the new days;
- joining neither makes a period final that was not, nor the reverse;
- the number of stretches grows with the holes and the answers that are not final, not with the age of the series.

Rejected: a row per day (cost grows with age), a cursor (knows no holes), a `final` flag (to be written as time passes).
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

from harvester.core.model import Slice, Stretch
from harvester.core.period import ONE_DAY, Calendar, Period


class Span(NamedTuple):
    """Days from `first` to `last`, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """The width in days."""
        return (self.last - self.first).days + 1


def stretch_of(piece: Slice, asked_on: date, calendar: Calendar) -> Stretch:
    """Return the coverage that an answer to `piece` gives, which was asked for on the local day `asked_on`."""
    return Stretch(piece.first, piece.last, asked_on, _natural_lag(piece.last, asked_on, piece.series.period, calendar))


def overlay(
    stretches: Sequence[Stretch], new: Stretch, *, period: Period, calendar: Calendar, settle_days: int
) -> list[Stretch]:
    """Return the coverage after an answer: `new` replaces older stretches, and final neighbours are joined."""
    pieces = [new]
    for old in stretches:
        if old.last < new.first or old.first > new.last:
            pieces.append(old)
            continue
        if old.first < new.first:
            pieces.append(_shortened(old, old.first, new.first - ONE_DAY, period, calendar))
        if old.last > new.last:
            pieces.append(_shortened(old, new.last + ONE_DAY, old.last, period, calendar))
    pieces.sort(key=lambda stretch: stretch.first)
    result = pieces[:1]
    for right in pieces[1:]:
        left = result[-1]
        if left.last + ONE_DAY == right.first and _joinable(left, right, period, calendar, settle_days):
            result[-1] = Stretch(left.first, right.last, min(left.asked_on, right.asked_on), min(left.lag, right.lag))
        else:
            result.append(right)
    return result


def final_spans(stretches: Iterable[Stretch], period: Period, calendar: Calendar, settle_days: int) -> list[Span]:
    """Return the days of the final periods, neighbours joined; with `settle_days` 0 those of the complete ones."""
    spans = (Span(stretch.first, final_through(stretch, period, calendar, settle_days)) for stretch in stretches)
    return merge_spans(span for span in spans if span.first <= span.last)


def final_through(stretch: Stretch, period: Period, calendar: Calendar, settle_days: int) -> date:
    """Return the last day of the last final period of a stretch; the day before its first if none is final."""
    if stretch.lag >= settle_days:
        return stretch.last
    limit = stretch.asked_on.toordinal() - settle_days
    none = stretch.first - ONE_DAY
    if limit <= stretch.first.toordinal():
        return none
    first_not_final = calendar.floor(period, stretch.asked_on.fromordinal(limit))
    return max(none, min(stretch.last, first_not_final - ONE_DAY))


def lag_of(stretch: Stretch, day: date, period: Period, calendar: Calendar) -> int:
    """Return the days, at least, from the end of the period that holds `day` to its request; negative: before it."""
    return max(stretch.lag, _natural_lag(day, stretch.asked_on, period, calendar))


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Return the same days as disjoint spans in order, neighbours joined."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.first <= result[-1].last + ONE_DAY:
            result[-1] = Span(result[-1].first, max(result[-1].last, span.last))
        else:
            result.append(span)
    return result


def gaps(within: Span, spans: Sequence[Span]) -> list[Span]:
    """Return the days of `within` that are in none of `spans` (disjoint and in order)."""
    result: list[Span] = []
    day = within.first
    for span in spans:
        if span.last < day:
            continue
        if span.first > within.last:
            break
        if span.first > day:
            result.append(Span(day, span.first - ONE_DAY))
        day = span.last + ONE_DAY
    if day <= within.last:
        result.append(Span(day, within.last))
    return result


def _natural_lag(day: date, asked_on: date, period: Period, calendar: Calendar) -> int:
    return (asked_on - calendar.following(period, calendar.floor(period, day))).days


def _shortened(old: Stretch, first: date, last: date, period: Period, calendar: Calendar) -> Stretch:
    return Stretch(first, last, old.asked_on, max(old.lag, _natural_lag(last, old.asked_on, period, calendar)))


def _joinable(left: Stretch, right: Stretch, period: Period, calendar: Calendar, settle_days: int) -> bool:
    if left.lag >= settle_days and right.lag >= settle_days:
        return True
    return left.asked_on == right.asked_on and all(
        stretch.lag == _natural_lag(stretch.last, stretch.asked_on, period, calendar) for stretch in (left, right)
    )
