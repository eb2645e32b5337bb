"""Planning: desired - stored = work. Decides which slices to ask for, as few and as wide as the server allows.

A desire is a series and a range of days. It is first widened to whole weeks or months, because the server counts only
the days inside a range and would give wrong figures for a part of a period; then it is clipped to today. What is final
is subtracted, and what remains is cut into slices.

The quota counts requests, so their number comes first. Slices are laid from the newest day back, each as wide as
allowed, which gives the fewest. Among the plans with that few, each slice is as short as possible: it ends at a stretch
that is final already, unless bridging that stretch saves a request.

Invariants (tests/unit/core/test_planning.py):
- every period that is desired and not final is in exactly one slice, whole; no slice begins or ends inside a period,
  except the current one; none is wider than allowed unless it is a single period;
- no plan has fewer slices; a slice begins and ends with a period that is wanted;
- planning again after every slice was answered finds only what is not final yet.

Rejected: a cursor per series (never fills holes), one slice per hole (every second day missing in a year would be 183
requests instead of one), slices on a fixed grid (the first and the last are needlessly short).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from harvester.core.coverage import Span, final_spans, gaps, merge_spans
from harvester.core.model import Series, Slice, Stretch
from harvester.core.period import ONE_DAY, Calendar, Period


@dataclass(frozen=True, slots=True)
class Desire:
    """Days of a series that should be stored, both ends included."""

    series: Series
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Plan:
    """Slices to ask for, in this order, and the number of slices that need no request."""

    slices: Sequence[Slice]
    already_covered: int
    refused_before: frozenset[Slice] = frozenset()  # those of the slices that hold only refused days


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings and date of an account that planning depends on."""

    calendar: Calendar
    today: date  # in the account's zone
    settle_days: int
    refetch: bool = False  # ask for final periods, too


@dataclass(frozen=True, slots=True)
class Stored:
    """Stored state of the series to plan, and the days that are not to be asked for now."""

    coverage: Mapping[Series, Sequence[Stretch]]
    failed: Mapping[Series, Sequence[Span]]  # to be asked for again
    refused: Mapping[Series, Sequence[Span]] = field(default_factory=dict)  # those of the failed that were refused
    excluded: Mapping[Series, Sequence[Span]] = field(default_factory=dict)  # in cool-down, or in a backfill order


def plan_slices(desires: Iterable[Desire], stored: Stored, rules: Rules, max_days: Mapping[str, int]) -> Plan:
    """Return the slices that are desired and not stored.

    Args:
        desires: one per series.
        stored: coverage and failed slices of those series; a series without either may be omitted.
        rules: the account's calendar, today and settle days.
        max_days: days per request, by resource.
    """
    slices: list[Slice] = []
    already_covered = 0
    for desire in desires:
        series = desire.series
        whole = _whole_periods(desire, rules)
        if whole is None:
            continue
        width = max_days[series.resource]
        missing = [whole]
        stretches = stored.coverage.get(series)
        if stretches and not rules.refetch:
            final = final_spans(stretches, series.period, rules.calendar, rules.settle_days)
            missing = merge_spans([*gaps(whole, final), *_within(whole, stored.failed.get(series, ()))])
            for first, last in cut([whole], series.period, rules.calendar, width):
                already_covered += not any(hole.first <= last and first <= hole.last for hole in missing)
        for part in _separate(missing, whole, series, stored, rules.calendar):
            slices += [Slice(series, first, last) for first, last in cut(part, series.period, rules.calendar, width)]
    slices.sort(key=lambda piece: piece.last, reverse=True)
    return Plan(slices, already_covered, frozenset(piece for piece in slices if _refused(piece, stored)))


def cut(missing: Sequence[Span], period: Period, calendar: Calendar, width: int) -> list[Span]:
    """Return the fewest spans of at most `width` days that cover `missing`, newest first, each as short as possible.

    Args:
        missing: disjoint spans in order, each beginning with a period.
        period: never cut; a period wider than `width` is asked for whole.
        calendar: of the account.
        width: days, at least 1.
    """
    if not missing:
        return []
    cutter = _Cutter(missing, period, calendar, width)
    spans: list[Span] = []
    last: date | None = missing[-1].last
    while last is not None:
        first, older = cutter.shortest(last)
        spans.append(Span(first, last))
        last = older
    return spans


class _Cutter:
    """Search for the range of one request, from its last day back."""

    def __init__(self, missing: Sequence[Span], period: Period, calendar: Calendar, width: int) -> None:
        self._firsts = [span.first for span in missing]
        self._lasts = [span.last for span in missing]
        self._period, self._calendar, self._width = period, calendar, width
        self._counts: dict[date | None, int] = {None: 0}

    def shortest(self, last: date) -> tuple[date, date | None]:
        """Return the first day of the shortest span that ends on `last` and does not cost an additional request.

        The second value is the newest missing day before the span, None if there is none.
        """
        first, older = self._widest(last)
        newest_hole, oldest_hole = bisect_right(self._firsts, last) - 1, bisect_left(self._firsts, first)
        if oldest_hole > newest_hole:  # even the newest hole does not fit whole
            return first, older
        left = self._count(last) - 1  # requests for what is older than the span
        for hole in range(newest_hole, oldest_hole - 1, -1):
            before = self._lasts[hole - 1] if hole else None
            if self._count(before) <= left:
                return self._firsts[hole], before
        return first, older

    def _widest(self, last: date) -> tuple[date, date | None]:
        """Return the same for the widest span that ends on `last`."""
        calendar, period = self._calendar, self._period
        lowest = last.fromordinal(max(1, last.toordinal() - self._width + 1))
        start = calendar.floor(period, lowest)
        if start < lowest:
            start = calendar.following(period, start)
        if period is not Period.DAY:
            start = min(start, calendar.floor(period, last))
        hole = bisect_right(self._lasts, start - ONE_DAY)  # the oldest one that ends on `start` or later
        if self._firsts[hole] < start:
            return start, start - ONE_DAY
        return self._firsts[hole], self._lasts[hole - 1] if hole else None

    def _count(self, last: date | None) -> int:
        """Return the fewest requests that cover the missing days up to `last`."""
        chain = []
        while last not in self._counts:
            chain.append(last)
            last = self._widest(last)[1] if last is not None else None
        count = self._counts[last]
        for day in reversed(chain):
            count += 1
            self._counts[day] = count
        return count


def _whole_periods(desire: Desire, rules: Rules) -> Span | None:
    period, calendar = desire.series.period, rules.calendar
    first = calendar.floor(period, desire.first)
    last = min(calendar.last(period, desire.last), rules.today)
    return Span(first, last) if first <= last else None


def _refused(piece: Slice, stored: Stored) -> bool:
    return any(span.first <= piece.first and piece.last <= span.last for span in stored.refused.get(piece.series, ()))


def _separate(
    missing: Sequence[Span], whole: Span, series: Series, stored: Stored, calendar: Calendar
) -> Iterator[Sequence[Span]]:
    """Yield the missing days in parts that no slice may bridge: without excluded days, and failed days by themselves.

    A slice that fails again would otherwise fail its neighbours, too.
    """
    excluded, failed = (
        merge_spans(_within(whole, (_aligned(span, series.period, calendar) for span in spans.get(series, ()))))
        for spans in (stored.excluded, stored.failed)
    )
    if not missing or not (excluded or failed):
        yield missing
        return
    for part in gaps(Span(missing[0].first, missing[-1].last), merge_spans([*excluded, *failed])):
        yield _within(part, missing)
    for span in failed:
        for part in gaps(span, excluded):
            yield [part]


def _aligned(span: Span, period: Period, calendar: Calendar) -> Span:
    return Span(calendar.floor(period, span.first), calendar.last(period, span.last))


def _within(whole: Span, spans: Iterable[Span]) -> list[Span]:
    clipped = (Span(max(span.first, whole.first), min(span.last, whole.last)) for span in spans)
    return [span for span in clipped if span.first <= span.last]
