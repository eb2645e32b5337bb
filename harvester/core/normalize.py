"""An answer judged against the slice that asked for it: what is stored, what is rejected, what fails the whole.

The slice's grid, the first instants of the periods it asked for, is the measure. In this order:

1. No metric that the resource is known to have: somebody else's answer, a PayloadError. The empty document is none:
   the server's PHP writes `[]` where it has nothing, so it is well-formed and lacks all periods, and so does a known
   metric with an empty map. Both are done, all periods absent: failing them would ask for ever for the years before
   an account began.
2. The keys of the known metrics testify to the server's calendar. Two distinct instants or more that begin no period
   of ours, or one if none does begin one, is a CalendarMismatch: storing any of it would store wrong days. A metric
   never heard of does not testify; it may well be keyed by something else.
3. Keys but not a single one within the slice: an answer to some other question, a PayloadError.
4. The rest is judged entry by entry. A key that is no epoch second, a single stray one, one of our grid but outside
   the slice, and Junk are rejects. A key that comes twice in one metric is rejected every time: which entry is true
   cannot be told, and the value stored earlier is the better one.

A metric's name must be a plain word: it becomes a name in two databases and in Prometheus. A map under any other name
is one reject. So is what a metric adds once an answer has MAX_REJECTS of them: a server that answers junk by the
hundred thousand shall fill neither memory nor table. A period is absent when no metric, known or not, has an entry for
it; an entry that is rejected is one.

Zones are tried in the order of their plausibility for a company in the US; the search runs only on the way to the
error, and is the one place in the core that may make the interpreter read zone files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from harvester.core.calendar_check import check_calendar, instant_of
from harvester.core.metric_catalogue import known_metrics
from harvester.core.model import Batch, InvalidValue, Page, Raw, Reject
from harvester.core.payload import NO_TIMESTAMP, escape_text
from harvester.errors import PayloadError

if TYPE_CHECKING:
    from harvester.core.period import Calendar, Period

MAX_METRICS = 200  # more names than that in one answer are junk, and would stay in the tables for ever
MAX_REJECTS = 1000  # of one answer, told one by one


MAX_NAME_LENGTH = 64  # characters


class _Grid(NamedTuple):
    """The periods of a slice, by epoch and by the epoch's text."""

    days: Mapping[int, date]
    epochs: Mapping[str, int]


def normalize(page: Page, calendar: Calendar) -> Batch:
    """Judge an answer.

    Raises:
        PayloadError: it is no answer to this slice.
        CalendarMismatch: the server's periods do not begin where those of `calendar` do.
    """
    piece = page.slice
    grid = _grid(calendar, piece.series.period, piece.first, piece.last)
    testimony = _testimony(page)
    if testimony and not testimony <= grid.epochs.keys():
        check_calendar(testimony, piece, calendar)
        if testimony.isdisjoint(grid.epochs):
            raise PayloadError(f"no entry within {piece.first}..{piece.last}")
    values: dict[str, Sequence[tuple[int, float | None]]] = {}
    rejects: list[Reject] = []
    for name, entries in page.metrics.items():
        if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():  # also a NUL, a lone surrogate
            rejects.append(Reject(escape_text(name), NO_TIMESTAMP, f"{len(entries)} entries", "no name for a metric"))
        else:
            values[name] = _judge(name, entries, grid.epochs, rejects)
    seen = set(chain.from_iterable(map(dict, page.metrics.values())))
    absent = [grid.days[epoch] for text, epoch in grid.epochs.items() if text not in seen]
    return Batch(piece, page.sent_at, grid.days, values, rejects, absent)


def _testimony(page: Page) -> set[str]:
    """The timestamp texts of the metrics that the resource is known to have."""
    if not page.metrics:
        return set()
    if len(page.metrics) > MAX_METRICS:
        raise PayloadError(f"{len(page.metrics)} metrics in one answer")
    known = known_metrics(page.slice.series.resource)
    maps = [dict(entries) for name, entries in page.metrics.items() if name in known]
    if all(found.keys() == {NO_TIMESTAMP} for found in maps):  # none at all, too
        names = ", ".join(escape_text(name) for name in list(page.metrics)[:5])
        raise PayloadError(f"no metric of {page.slice.series.resource} in it, but {names}")
    return set().union(*maps) - {NO_TIMESTAMP}


@lru_cache(maxsize=32)  # the phones of an account are asked for the same days, one after the other
def _grid(calendar: Calendar, period: Period, first: date, last: date) -> _Grid:
    days = calendar.grid(period, first, last)
    return _Grid(days, {str(epoch): epoch for epoch in days})


def _judge(
    metric: str, entries: Sequence[tuple[str, Raw]], epochs: Mapping[str, int], rejects: list[Reject]
) -> list[tuple[int, float | None]]:
    twice: set[str] = set()
    if len(dict(entries)) < len(entries):
        twice = {text for text, count in Counter(text for text, _ in entries).items() if count > 1} - {NO_TIMESTAMP}
    taken: list[tuple[int, float | None]] = []
    untold = 0
    for text, raw in entries:
        epoch = epochs.get(text)
        if epoch is None or isinstance(raw, InvalidValue) or text in twice:
            if len(rejects) < MAX_REJECTS:
                rejects.append(_reject(metric, text, raw, doubled=text in twice))
            else:
                untold += 1
        else:
            # Adding 0.0 makes an integer a double, and of -0.0 the zero that both databases agree on.
            taken.append((epoch, None if raw is None else raw + 0.0))
    if untold:
        rejects.append(Reject(metric, NO_TIMESTAMP, f"{untold} entries", "too many to be told one by one"))
    return taken


def _reject(metric: str, text: str, raw: Raw, *, doubled: bool) -> Reject:
    value = raw.text if isinstance(raw, InvalidValue) else "null" if raw is None else repr(raw)
    if doubled:
        reason = "the timestamp comes twice"
    elif isinstance(raw, InvalidValue):
        reason = raw.reason
    elif instant_of(text) is None:
        reason = "the key is no timestamp in seconds"
    else:
        reason = "outside the slice, or no start of a period"
    return Reject(metric, escape_text(text), value, reason)
