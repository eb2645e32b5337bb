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

Final periods whose absence is not confirmed (`core/absence.py`) are asked for again from the day after they were first
absent, in slices of their own, of another width than the first answer.

Rejected: a cursor per series (never fills holes), one slice per hole (every second day missing in a year would be 183
requests instead of one), slices on a fixed grid (the first and the last are needlessly short).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from harvester.core.absence import AbsentSpan
from harvester.core.coverage import Span, final_spans, gaps, merge_spans
from harvester.core.model import RangeKey, Series, Slice, Stretch
from harvester.core.period import ONE_DAY, Calendar, Period

_LONGEST = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}  # days


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
    absent: Mapping[Series, Sequence[AbsentSpan]] = field(default_factory=dict)  # unconfirmed, whether due or not


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
    absent: Mapping[Series, Sequence[AbsentSpan]] = field(default_factory=dict)  # absence that is not confirmed


def plan_slices(desires: Iterable[Desire], stored: Stored, rules: Rules, max_days: Mapping[RangeKey, int]) -> Plan:
    """Return the slices that are desired and not stored.

    Args:
        desires: one per series.
        stored: coverage and failed slices of those series; a series without either may be omitted.
        rules: the account's calendar, today and settle days.
        max_days: days per request.
    """
    slices: list[Slice] = []
    already_covered = 0
    for desire in desires:
        series = desire.series
        whole = _whole_periods(desire, rules)
        if whole is None:
            continue
        width = max_days[series.range_key]
        missing, doubtful = [whole], list[AbsentSpan]()
        stretches = stored.coverage.get(series)
        if stretches and not rules.refetch:
            final = final_spans(stretches, series.period, rules.calendar, rules.settle_days)
            missing = merge_spans([*gaps(whole, final), *_within(whole, stored.failed.get(series, ()))])
            doubtful = _due_absence(whole, missing, series, stored, rules)
            holes = [*missing, *(Span(span.first, span.last) for span in doubtful)]
            for first, last in cut([whole], series.period, rules.calendar, width):
                already_covered += not any(hole.first <= last and first <= hole.last for hole in holes)
        for part in _separate(missing, whole, series, stored, rules.calendar):
            slices += [Slice(series, first, last) for first, last in cut(part, series.period, rules.calendar, width)]
        slices += [Slice(series, *span) for span in _cut_otherwise(doubtful, whole, series.period, rules, width)]
    slices.sort(key=lambda piece: piece.last, reverse=True)
    refused = frozenset(piece for piece in slices if _refused(piece, stored))
    return Plan(slices, already_covered, refused, stored.absent)


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


def _due_absence(
    whole: Span, missing: Sequence[Span], series: Series, stored: Stored, rules: Rules
) -> list[AbsentSpan]:
    """Return the unconfirmed absence that is due and would not be asked for anyway."""
    spans = stored.absent.get(series, ())
    if not spans:
        return []
    excluded = (_aligned(span, series.period, rules.calendar) for span in stored.excluded.get(series, ()))
    others = merge_spans([*missing, *excluded])
    due = (span for span in spans if span.seen_on < rules.today)
    parts = ((span, part) for span in due for part in gaps(Span(span.first, span.last), others))
    return [span._replace(first=day, last=last) for span, part in parts for day, last in _within(whole, [part])]


def _cut_otherwise(spans: Sequence[AbsentSpan], whole: Span, period: Period, rules: Rules, width: int) -> list[Span]:
    """Return ranges for absent days, each of another width than the answer that lacked them first.

    One period less per request is enough for most. Others are asked for with a neighbour or in two parts. Where the
    width allows neither, the days wait until the same width confirms their absence.
    """
    calendar = rules.calendar

    def repeats(span: Span) -> bool:
        touched = (one for one in spans if one.first <= span.last and span.first <= one.last)
        return not all(one.confirmed_by(rules.today, span.days) for one in touched)

    def changed(span: Span) -> list[Span]:
        if not repeats(span):
            return [span]
        newer = Span(span.first, calendar.last(period, span.last + ONE_DAY))
        older = Span(calendar.floor(period, span.first - ONE_DAY), span.last)
        second = calendar.following(period, span.first)
        ways = [[wider] for wider in (newer, older) if whole.first <= wider.first and wider.last <= whole.last]
        if second <= span.last:
            ways.append([Span(second, span.last), Span(span.first, second - ONE_DAY)])
        else:
            ways += [[newer], [older]] if newer.last < rules.today else [[older]]
        usable = (way for way in ways if not any(part.days > width or repeats(part) for part in way))
        return next(usable, [])

    days = merge_spans(Span(span.first, span.last) for span in spans)
    found: list[Span] = []
    for allowed in (width, max(1, width - _LONGEST[period])):
        found = cut(days, period, calendar, allowed)
        if not any(map(repeats, found)):
            return found
    return [part for span in found for part in changed(span)]


def _aligned(span: Span, period: Period, calendar: Calendar) -> Span:
    return Span(calendar.floor(period, span.first), calendar.last(period, span.last))


def _within(whole: Span, spans: Iterable[Span]) -> list[Span]:
    clipped = (Span(max(span.first, whole.first), min(span.last, whole.last)) for span in spans)
    return [span for span in clipped if span.first <= span.last]
