"""The report of `status` as text lines. A line about a series begins with its whole name, so that grep finds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from enum import Enum, auto
from itertools import groupby
from typing import NamedTuple

from harvester.console.text import clock_skew, counted, utc_time
from harvester.core.coverage import Span
from harvester.reports.status import AccountReport, Report, SeriesReport
from harvester.store.types import RecordedState
from harvester.throttle.throttle import MAX_SKEW_SECONDS

_MAX_LISTED = 3  # gaps, and failed slices, of one series
_EMPTY_CELL = "-"
_ACCOUNT_HEADERS = ("account", "resource", "state", "series")
_SERIES_HEADERS = ("account", "resource", "phone", "period")
_FIGURE_HEADERS = ("first", "last", "final to", "gaps", "absent", "failed")
_NUMERIC_HEADERS = {"series", "gaps", "absent", "failed"}


class LineStyle(Enum):
    """Style of a line on a terminal with colours."""

    PLAIN = auto()
    HEADER = auto()
    WARNING = auto()
    ERROR = auto()


class Line(NamedTuple):
    """A line of text."""

    text: str
    style: LineStyle = LineStyle.PLAIN


def lines(report: Report, *, every_series: bool) -> list[Line]:
    """Return the report; `every_series` lists also the series without a problem."""
    result = [
        Line(
            f"{utc_time(report.generated_at)}, schema {report.schema_version}. "
            "Times are in UTC, days in the account's zone; gaps in days."
        ),
        Line(""),
    ]
    if not report.accounts:
        return [*result, Line("nothing is stored yet")]
    result += _table(_ACCOUNT_HEADERS, [row for account in report.accounts for row in _resource_rows(account)])
    result.append(Line(""))
    result += [line for account in report.accounts for line in _notes(account)]
    listed = [one for account in report.accounts for one in account.series if every_series or one.has_problem]
    if listed:
        result.append(Line(""))
        result += _table(_SERIES_HEADERS, [_series_row(one) for one in listed])
    details = [line for one in listed for line in _details(one)]
    if details:
        result += [Line(""), *details]
    if report.unconfigured and not every_series:  # with a filter, configured series would be counted here, too
        more = f"{report.unconfigured:,} stored series not in the configuration; `--db` lists them, too."
        result += [Line(""), Line(more)]
    return result


class _Row(NamedTuple):
    cells: tuple[str, ...]
    style: LineStyle


def _resource_rows(account: AccountReport) -> Iterator[_Row]:
    if not account.series:
        cells = (account.name, _EMPTY_CELL, account.state.value, "0", *_figures([]))
        yield _Row(cells, _account_style(account, []))
    for resource, group in groupby(account.series, key=lambda one: one.series.resource):
        series = list(group)
        cells = (account.name, resource, account.state.value, str(len(series)), *_figures(series))
        yield _Row(cells, _account_style(account, series))


def _series_row(one: SeriesReport) -> _Row:
    name = (one.series.account, one.series.resource, one.series.phone, one.series.period.value)
    return _Row((*name, *_figures([one])), _style([one]))


def _figures(series: Sequence[SeriesReport]) -> tuple[str, ...]:
    """Return the widest range with values, the last day up to which all series are final, and the sums."""
    finals = [one.final_through for one in series]
    return (
        _day(min((one.first for one in series if one.first), default=None)),
        _day(max((one.last for one in series if one.last), default=None)),
        _day(min((day for day in finals if day), default=None) if all(finals) else None),
        str(sum(one.gap_days for one in series)),
        str(sum(one.absent for one in series)),
        str(sum(len(one.failed) for one in series)),
    )


def _account_style(account: AccountReport, series: Sequence[SeriesReport]) -> LineStyle:
    if account.state is RecordedState.PAUSED:
        return LineStyle.ERROR
    style = _style(series)
    return LineStyle.WARNING if style is LineStyle.PLAIN and account.state is RecordedState.WAITING else style


def _style(series: Iterable[SeriesReport]) -> LineStyle:
    all_series = list(series)
    if any(one.failed for one in all_series):
        return LineStyle.ERROR
    return LineStyle.WARNING if any(one.has_problem for one in all_series) else LineStyle.PLAIN


def _notes(account: AccountReport) -> Iterator[Line]:
    if account.reason:
        style = LineStyle.ERROR if account.state is RecordedState.PAUSED else LineStyle.WARNING
        yield Line(f"{account.name}: {account.state.value}: {account.reason}", style)
    skew = account.clock_skew or 0.0
    if abs(skew) > MAX_SKEW_SECONDS:
        text = f"at the last request the host's clock was {clock_skew(skew)}; set the host's clock"
        yield Line(f"{account.name}: {text}", LineStyle.WARNING)
    unconfirmed = sum(one.unconfirmed_absent for one in account.series)
    if unconfirmed:
        text = f"{counted(unconfirmed, 'absent period')} not confirmed, so not final; requested again on a later day"
        yield Line(f"{account.name}: {text}", LineStyle.WARNING)
    quota = account.quota
    if quota.remaining is None:
        text = "no request counted yet"
    else:
        until = f" until {utc_time(quota.resets_at)}" if quota.resets_at is not None else ""
        text = f"{quota.remaining} of {quota.limit} requests left{until}"
    by = f"; claimed by {account.holder}" if account.holder else ""
    yield Line(f"{account.name}: {text}{by}")
    for (resource, period), day in account.served_until.items():
        later = "later days are requested again within a day"
        yield Line(f"{account.name} {resource} {period}: the API serves no day after {day} yet; {later}")


def _details(one: SeriesReport) -> Iterator[Line]:
    if one.gaps:
        yield Line(f"{one.series}: missing {_some([_span(gap) for gap in one.gaps])}")
    elif one.lacks_latest and not one.unconfirmed:
        yield Line(f"{one.series}: nothing stored, and no start configured")
    if one.unconfirmed:
        yield Line(f"{one.series}: absent once {_some([_span(Span(*span[:2])) for span in one.unconfirmed])}")
    for failed in one.failed[:_MAX_LISTED]:
        text = f"{one.series}: failed {failed.first}..{failed.last}: {failed.error}"
        yield Line(text, LineStyle.ERROR)
    if len(one.failed) > _MAX_LISTED:
        yield Line(f"{one.series}: and {counted(len(one.failed) - _MAX_LISTED, 'more failed slice')}", LineStyle.ERROR)


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MAX_LISTED} more" if len(texts) > _MAX_LISTED else ""
    return ", ".join(texts[:_MAX_LISTED]) + more


def _span(span: Span) -> str:
    return str(span.first) if span.first == span.last else f"{span.first}..{span.last}"


def _day(day: date | None) -> str:
    return _EMPTY_CELL if day is None else day.isoformat()


def _table(names: tuple[str, ...], rows: Sequence[_Row]) -> Iterator[Line]:
    headers = (*names, *_FIGURE_HEADERS)
    widths = [max(map(len, column)) for column in zip(headers, *(row.cells for row in rows), strict=True)]
    for cells, style in ((headers, LineStyle.HEADER), *rows):
        padded = [
            cell.rjust(width) if header in _NUMERIC_HEADERS else cell.ljust(width)
            for header, cell, width in zip(headers, cells, widths, strict=True)
        ]
        yield Line("  ".join(padded).rstrip(), style)
