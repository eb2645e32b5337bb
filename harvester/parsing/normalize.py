"""Check of an answer against the slice that asked for it: what is stored, what is rejected, what fails the whole.

The answer is compared with the grid of the slice: the first instants of the requested periods. In this order:

1. No metric that the resource is known to have: the answer of another server, a PayloadError. The empty document is
   none: the server's PHP writes `[]` where it has nothing, so it is well-formed and lacks all periods, like a known
   metric with an empty map. Both count as answered: failing them would request the years before an account for ever.
2. The keys of the known metrics show the server's calendar. If two or more distinct instants begin no period of the
   configured calendar, or a single one where no other begins one, that is a CalendarMismatch: storing any of it would
   store wrong days. Unknown metrics do not count here; they may well be keyed by something else.
3. Keys, but none within the slice: an answer to another question, a PayloadError.
4. Else each entry is checked by itself. A key that is no epoch second, a single stray one, one of the grid but outside
   the slice, and an InvalidValue are rejected. A key that comes twice in one metric is rejected each time: nothing
   shows which entry is right, and the value that was stored earlier is the better one.

The name of a metric must be printable and short: it becomes a name in two databases and in Prometheus. A map under any
other name is one reject. So are all further rejects of a metric once an answer has MAX_REJECTS: nonsense by the hundred
thousand must fill neither memory nor table. A period is absent if no metric has an entry for it, not even a reject.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from itertools import chain

from harvester.core.metric_catalogue import known_metrics
from harvester.core.model import Batch, InvalidValue, Page, Raw, Reject
from harvester.core.period import Calendar, Period
from harvester.errors import PayloadError
from harvester.parsing.calendar_check import check_calendar, instant_of
from harvester.parsing.payload import NO_TIMESTAMP, escape_text

MAX_METRICS = 200  # in one answer; more names are nonsense and would stay in the tables for ever
MAX_REJECTS = 1000  # of one answer, stored one by one
MAX_NAME_LENGTH = 64  # characters


def normalize(page: Page, calendar: Calendar) -> Batch:
    """Return the values, rejects and absent periods of an answer.

    Raises:
        PayloadError: the page is no answer to its slice.
        CalendarMismatch: the server's periods do not begin where those of `calendar` do.
    """
    piece = page.slice
    grid, epochs = _grid(calendar, piece.series.period, piece.first, piece.last)
    timestamps = _known_timestamps(page)
    if timestamps and not timestamps <= epochs.keys():
        check_calendar(timestamps, piece, calendar)
        if timestamps.isdisjoint(epochs):
            raise PayloadError(f"no entry within {piece.first}..{piece.last}")
    values: dict[str, Sequence[tuple[int, float | None]]] = {}
    rejects: list[Reject] = []
    for name, entries in page.metrics.items():
        if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():  # also a NUL, a lone surrogate
            rejects.append(Reject(escape_text(name), NO_TIMESTAMP, f"{len(entries)} entries", "no name for a metric"))
        else:
            values[name] = _take_entries(name, entries, epochs, rejects)
    seen = set(chain.from_iterable(map(dict, page.metrics.values())))
    absent = [grid[epoch] for text, epoch in epochs.items() if text not in seen]
    return Batch(piece, page.sent_at, grid, values, rejects, absent)


def _known_timestamps(page: Page) -> set[str]:
    """Return the timestamp texts of the metrics that the resource is known to have."""
    if not page.metrics:
        return set()
    if len(page.metrics) > MAX_METRICS:
        raise PayloadError(f"{len(page.metrics)} metrics in one answer")
    known = known_metrics(page.slice.series.resource)
    maps = [dict(entries) for name, entries in page.metrics.items() if name in known]
    if all(found.keys() == {NO_TIMESTAMP} for found in maps):  # also if there is none
        names = ", ".join(escape_text(name) for name in list(page.metrics)[:5])
        raise PayloadError(f"no metric of {page.slice.series.resource} in it, but {names}")
    return set().union(*maps) - {NO_TIMESTAMP}


@lru_cache(maxsize=32)  # the phones of an account are requested for the same days, one after the other
def _grid(calendar: Calendar, period: Period, first: date, last: date) -> tuple[dict[int, date], dict[str, int]]:
    """Return the first day of each period by epoch, and the epochs by their text."""
    grid = calendar.grid(period, first, last)
    return grid, {str(epoch): epoch for epoch in grid}


def _take_entries(
    metric: str, entries: Sequence[tuple[str, Raw]], epochs: Mapping[str, int], rejects: list[Reject]
) -> list[tuple[int, float | None]]:
    """Return the values of a metric that can be stored, and append the others to `rejects`."""
    twice: set[str] = set()
    if len(dict(entries)) < len(entries):
        twice = {text for text, count in Counter(text for text, _ in entries).items() if count > 1} - {NO_TIMESTAMP}
    taken: list[tuple[int, float | None]] = []
    suppressed = 0
    for text, raw in entries:
        epoch = epochs.get(text)
        if epoch is None or isinstance(raw, InvalidValue) or text in twice:
            if len(rejects) < MAX_REJECTS:
                rejects.append(_reject(metric, text, raw, doubled=text in twice))
            else:
                suppressed += 1
        else:
            # Adding 0.0 turns an integer into a double, and -0.0 into the zero that both databases store alike.
            taken.append((epoch, None if raw is None else raw + 0.0))
    if suppressed:
        rejects.append(Reject(metric, NO_TIMESTAMP, f"{suppressed} entries", "too many to list one by one"))
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
