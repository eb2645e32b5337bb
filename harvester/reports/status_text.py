"""The report of `status` as lines for people, and for grep: what is said of a series begins with its whole name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from enum import Enum, auto
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from harvester.console.text import utc_time
from harvester.store.types import RecordedState

if TYPE_CHECKING:
    from harvester.core.coverage import Span
    from harvester.reports.status import AccountReport, Report, SeriesReport

_SHOWN = 3  # gaps and failed slices of one series
_NOTHING = "-"
_ACCOUNT_HEADS = ("account", "resource", "state", "series")
_SERIES_HEADS = ("account", "resource", "phone", "period")
_HEADS = ("first", "last", "final to", "gaps", "absent", "failed")
_NUMBERS = {"series", "gaps", "absent", "failed"}


class Tone(Enum):
    """How a line may be coloured."""

    PLAIN = auto()
    HEAD = auto()
    WARNING = auto()
    TROUBLE = auto()


class Line(NamedTuple):
    """A line of text."""

    text: str
    tone: Tone = Tone.PLAIN


def lines(report: Report, *, every_series: bool) -> list[Line]:
    """The report; `every_series` shows those too that are not in trouble."""
    told = [
        Line(
            f"{utc_time(report.generated_at)}, schema {report.schema_version}. "
            "Times are UTC, days the account's own; gaps are counted in days."
        ),
        Line(""),
    ]
    if not report.accounts:
        return [*told, Line("nothing is stored yet")]
    told += _table(_ACCOUNT_HEADS, [row for account in report.accounts for row in _resource_rows(account)])
    told.append(Line(""))
    told += [line for account in report.accounts for line in _notes(account)]
    shown = [one for account in report.accounts for one in account.series if every_series or one.in_trouble]
    if shown:
        told.append(Line(""))
        told += _table(_SERIES_HEADS, [_series_row(one) for one in shown])
    details = [line for one in shown for line in _details(one)]
    if details:
        told += [Line(""), *details]
    if report.unwanted and not every_series:  # a filter leaves out what is configured, too
        told += [Line(""), Line(f"{report.unwanted} more stored series are not configured; `--db` shows them too.")]
    return told


class _Row(NamedTuple):
    cells: tuple[str, ...]
    tone: Tone


def _resource_rows(account: AccountReport) -> Iterator[_Row]:
    if not account.series:
        cells = (account.name, _NOTHING, account.state.value, "0", *_figures([]))
        yield _Row(cells, _account_tone(account, []))
    for resource, group in groupby(account.series, key=lambda one: one.series.resource):
        series = list(group)
        cells = (account.name, resource, account.state.value, str(len(series)), *_figures(series))
        yield _Row(cells, _account_tone(account, series))


def _series_row(one: SeriesReport) -> _Row:
    name = (one.series.account, one.series.resource, one.series.phone, one.series.period.value)
    return _Row((*name, *_figures([one])), _tone([one]))


def _figures(series: Sequence[SeriesReport]) -> tuple[str, ...]:
    """The widest range that holds values, and up to where everything is final."""
    finals = [one.final_through for one in series]
    return (
        _day(min((one.first for one in series if one.first), default=None)),
        _day(max((one.last for one in series if one.last), default=None)),
        _day(min((day for day in finals if day), default=None) if all(finals) else None),
        str(sum(one.gap_days for one in series)),
        str(sum(one.absent for one in series)),
        str(sum(len(one.failed) for one in series)),
    )


def _account_tone(account: AccountReport, series: Sequence[SeriesReport]) -> Tone:
    if account.state is RecordedState.PAUSED:
        return Tone.TROUBLE
    tone = _tone(series)
    return Tone.WARNING if tone is Tone.PLAIN and account.state is RecordedState.WAITING else tone


def _tone(series: Iterable[SeriesReport]) -> Tone:
    shown = list(series)
    if any(one.failed for one in shown):
        return Tone.TROUBLE
    return Tone.WARNING if any(one.in_trouble for one in shown) else Tone.PLAIN


def _notes(account: AccountReport) -> Iterator[Line]:
    if account.reason:
        tone = Tone.TROUBLE if account.state is RecordedState.PAUSED else Tone.WARNING
        yield Line(f"{account.name}: {account.state.value}: {account.reason}", tone)
    quota = account.quota
    if quota.remaining is None:
        text = "no request was counted yet"
    else:
        until = f" until {utc_time(quota.resets_at)}" if quota.resets_at is not None else ""
        text = f"{quota.remaining} of {quota.limit} requests left{until}"
    by = f"; claimed by {account.holder}" if account.holder else ""
    yield Line(f"{account.name}: {text}{by}")


def _details(one: SeriesReport) -> Iterator[Line]:
    if one.gaps:
        yield Line(f"{one.series}: missing {_some([_span(gap) for gap in one.gaps])}")
    elif one.lacks_latest:
        yield Line(f"{one.series}: nothing stored, and no start configured")
    for failed in one.failed[:_SHOWN]:
        text = f"{one.series}: failed {failed.first}..{failed.last}: {failed.error}"
        yield Line(text, Tone.TROUBLE)
    if len(one.failed) > _SHOWN:
        yield Line(f"{one.series}: and {len(one.failed) - _SHOWN} more failed slices", Tone.TROUBLE)


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _span(span: Span) -> str:
    return str(span.first) if span.first == span.last else f"{span.first}..{span.last}"


def _day(day: date | None) -> str:
    return _NOTHING if day is None else day.isoformat()


def _table(names: tuple[str, ...], rows: Sequence[_Row]) -> Iterator[Line]:
    heads = (*names, *_HEADS)
    widths = [max(map(len, column)) for column in zip(heads, *(row.cells for row in rows), strict=True)]
    for cells, tone in ((heads, Tone.HEAD), *rows):
        padded = [
            cell.rjust(width) if head in _NUMBERS else cell.ljust(width)
            for head, cell, width in zip(heads, cells, widths, strict=True)
        ]
        yield Line("  ".join(padded).rstrip(), tone)
