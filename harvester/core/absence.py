"""Unconfirmed absence: ended periods that an answer left out, until a second answer confirms that the API has none.

The API's documentation says that a day without traffic is there with 0. So an absent past period is a suspicion: the
server may have answered `[]` for a moment, or cut a wide answer silently. It counts as confirmed once it was absent in
two answers of different widths on different days. Until then it is not final, and planning asks for it again on a later
day, with another width. Where no other width is possible (a request may hold a single period), the same width counts
after `SAME_WIDTH_DAYS`.

One sign is worth a request at once: present periods beside one absent edge. That edge is asked for alone, once. If it
then has data, the server has cut the wider answer.

Invariants (tests/unit/core/test_absence.py): the spans of a series are disjoint and in order; a period that an answer
contains is in none; a confirmed one does not come back; the number of spans grows with the holes, not with the days.

Rejected: a count of answers per day (cost grows with age), accepting a second answer of the same width (a cap cuts
both alike) or of the same day (an outage behind the API lasts longer than a run).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from harvester.core.coverage import Span
from harvester.core.model import Series, Slice
from harvester.core.period import ONE_DAY, Calendar, Period

SAME_WIDTH_DAYS = 30  # days after which absence in an answer of the same width confirms, too


class AbsentSpan(NamedTuple):
    """Days of ended periods that were absent from one answer; both ends included."""

    first: date
    last: date
    seen_on: date  # local day of the request whose answer lacked them first
    width: int  # days of that request; 0 if unknown

    def confirmed_by(self, asked_on: date, width: int) -> bool:
        """Return True if absence from an answer to `width` days, asked for on `asked_on`, confirms this one."""
        days = (asked_on - self.seen_on).days
        return days > 0 and (width != self.width or days >= SAME_WIDTH_DAYS)


def update_absence(
    spans: Iterable[AbsentSpan],
    piece: Slice,
    asked_on: date,
    absent: Iterable[date],
    confirmed: Collection[date],
    calendar: Calendar,
) -> list[AbsentSpan]:
    """Return the unconfirmed absence of a series after an answer.

    Args:
        spans: those before it, disjoint.
        piece: the slice that was answered.
        asked_on: the local day of the request.
        absent: first days of the periods that the answer lacks.
        confirmed: those of them whose absence was confirmed before.
        calendar: of the account.
    """
    period = piece.series.period
    before = list(spans)
    found = [part for span in before for part in _outside(span, piece)]
    for day in absent:
        last = calendar.last(period, day)
        if last >= asked_on:  # it had not ended
            continue
        known = next((span for span in before if span.first <= day <= span.last), None)
        if known is None:
            if day not in confirmed:
                found.append(AbsentSpan(day, last, asked_on, piece.days))
        elif not known.confirmed_by(asked_on, piece.days):
            found.append(known._replace(first=day, last=last))
    return _joined(found)


def absent_edge(piece: Slice, absent: Collection[date], asked_on: date, calendar: Calendar) -> Span | None:
    """Return the days that an answer lacks, if they are one edge of the slice beside present periods; else None.

    Args:
        piece: the slice that was answered.
        absent: first days of the periods that the answer lacks; those that had not ended do not count.
        asked_on: the local day of the request.
        calendar: of the account.
    """
    if not absent:
        return None
    period = piece.series.period
    lacking = {day for day in absent if calendar.last(period, day) < asked_on}
    days = [day for day in calendar.starts(period, piece.first, piece.last) if day in lacking or day not in absent]
    count = len(lacking)
    if not 0 < count < len(days):
        return None
    if lacking.issuperset(days[:count]):
        return Span(piece.first, calendar.last(period, days[count - 1]))
    if lacking.issuperset(days[-count:]):
        return Span(days[-count], calendar.last(period, days[-1]))
    return None


def count_periods(spans: Iterable[AbsentSpan], period: Period, calendar: Calendar) -> int:
    """Return the number of periods that begin within the spans."""
    return sum(sum(1 for _ in calendar.starts(period, span.first, span.last)) for span in spans)


def count_unconfirmed(
    absent: Mapping[Series, Sequence[AbsentSpan]], series: Iterable[Series], calendar: Calendar
) -> int:
    """Return the number of periods of these series whose absence is not confirmed."""
    return sum(count_periods(absent.get(one, ()), one.period, calendar) for one in series)


def _outside(span: AbsentSpan, piece: Slice) -> list[AbsentSpan]:
    """Return the parts of a span that a slice does not hold."""
    if span.last < piece.first or span.first > piece.last:
        return [span]
    parts = []
    if span.first < piece.first:
        parts.append(span._replace(last=piece.first - ONE_DAY))
    if span.last > piece.last:
        parts.append(span._replace(first=piece.last + ONE_DAY))
    return parts


def _joined(spans: Sequence[AbsentSpan]) -> list[AbsentSpan]:
    """Return the spans in order, neighbours of one first answer joined."""
    result: list[AbsentSpan] = []
    for span in sorted(spans):
        if result and result[-1].last + ONE_DAY == span.first and result[-1][2:] == span[2:]:
            result[-1] = result[-1]._replace(last=span.last)
        else:
            result.append(span)
    return result
