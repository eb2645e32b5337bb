"""What `status` says: pure functions from what is stored, what is configured and the time to a report.

With a configuration the report is of what is configured: series that were never stored are in it, and those that
are stored but no longer wanted are only counted, for else a number that was given up would lack yesterday for ever.
Without one it is of whatever the database holds.

A series is expected from the earlier of the configured start and its first stored day, in whole periods, up to the
last period that had ended by yesterday. Gaps are days of that range that were never asked for with success; a day
that the API left out of a good answer is no gap, it is absent. The days and zones are those of the stored rows,
which a configuration cannot change.

Cost follows the number of stretches, not of days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from harvester import __version__
from harvester.console.text import utc_time
from harvester.core.coverage import Span, final_spans, gaps
from harvester.core.model import QuotaRecord, Series, usable_limit
from harvester.core.period import ONE_DAY, Calendar
from harvester.engine.account_plan import configured_series
from harvester.store.types import AccountStatus, FailedRange, RecordedState, SeriesStatus

if TYPE_CHECKING:
    from harvester.config import Settings


@dataclass(frozen=True, slots=True)
class Wanted:
    """An account as configured, as far as `status` asks."""

    name: str
    calendar: Calendar
    settle_days: int
    start: date | None
    limit: int  # requests per window
    reserve: int
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """The account's window: None where nothing is known. `resets_at` is None too where no request was counted yet."""

    limit: int | None
    remaining: int | None  # to us: what is reserved for others is not in it
    resets_at: int | None  # server's epoch second


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """How complete a series is. `complete_through` and `final_through` are the last days without a gap before them."""

    series: Series
    first: date | None  # first and last period that has a value
    last: date | None
    complete_through: date | None
    final_through: date | None
    gaps: Sequence[Span]
    lacks_latest: bool  # the last period that has ended: yesterday, for days
    absent: int
    failed: Sequence[FailedRange]

    @property
    def gap_days(self) -> int:
        """How many days are missing."""
        return sum((gap.last - gap.first).days + 1 for gap in self.gaps)

    @property
    def in_trouble(self) -> bool:
        """Whether it deserves a line of its own."""
        return bool(self.gaps or self.failed or self.lacks_latest)


@dataclass(frozen=True, slots=True)
class AccountReport:
    """How an account fares."""

    name: str
    state: RecordedState
    reason: str | None
    holder: str | None  # who claimed it; one that was killed may still stand here
    quota: QuotaReport
    series: Sequence[SeriesReport]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it, at one moment (epoch seconds)."""

    generated_at: float
    schema_version: str | None
    accounts: Sequence[AccountReport] = ()
    unwanted: int = 0  # series that are stored and not configured

    @property
    def needs_attention(self) -> bool:
        """Whether anything failed, is paused, or lacks yesterday."""
        return any(
            account.state is RecordedState.PAUSED or any(one.failed or one.lacks_latest for one in account.series)
            for account in self.accounts
        )


def wanted(settings: Settings) -> list[Wanted]:
    """What the configuration says."""
    return [
        Wanted(
            name=account.name,
            calendar=account.calendar,
            settle_days=settings.daemon.settle_days,
            start=account.start,
            limit=account.quota.limit,
            reserve=account.quota.reserve,
            series=configured_series(account),
        )
        for account in settings.accounts.values()
    ]


def build(
    stored: Sequence[AccountStatus], configured: Sequence[Wanted] | None, now: float, schema_version: str
) -> Report:
    """The report on what is configured, or with None on everything stored (`now`: epoch seconds)."""
    if configured is None:
        return Report(now, schema_version, [_account(status, None, now) for status in stored])
    known = {status.identity.name: status for status in stored}
    chosen = {one for account in configured for one in account.series}
    return Report(
        now,
        schema_version,
        [_account(known.get(account.name), account, now) for account in configured],
        sum(one.series not in chosen for status in stored for one in status.series),
    )


def _account(status: AccountStatus | None, configured: Wanted | None, now: float) -> AccountReport:
    """One account, of which one argument may be None."""
    quota = _quota(status.quota if status else None, configured, now)
    state, reason = _state(status, quota)
    return AccountReport(
        name=status.identity.name if status else configured.name if configured else "",
        state=state,
        reason=reason,
        holder=status.holder or None if status else None,
        quota=quota,
        series=_all_series(status, configured, now),
    )


def _all_series(status: AccountStatus | None, configured: Wanted | None, now: float) -> list[SeriesReport]:
    found = {one.series: one for one in status.series} if status else {}
    if status is not None:
        identity = status.identity
        calendar = Calendar(ZoneInfo(identity.timezone), identity.week_start)
        rule = _Rule(calendar, calendar.local_date(now), identity.settle_days, identity.start)
        if configured is not None:
            rule = replace(rule, start=configured.start)
    elif configured is not None:
        calendar = configured.calendar
        rule = _Rule(calendar, calendar.local_date(now), configured.settle_days, configured.start)
    else:
        return []
    names = sorted(configured.series if configured else found)
    return [_series(found.get(one) or SeriesStatus(one, None, None, (), 0, ()), rule) for one in names]


@dataclass(frozen=True, slots=True)
class _Rule:
    calendar: Calendar
    today: date
    settle_days: int
    start: date | None


def _series(stored: SeriesStatus, rule: _Rule) -> SeriesReport:
    period, calendar = stored.series.period, rule.calendar
    covered = [Span(stretch.first, stretch.last) for stretch in stored.coverage]
    begins = [day for day in (rule.start, *(span.first for span in covered[:1])) if day is not None]
    begin = calendar.floor(period, min(begins)) if begins else None
    end = calendar.floor(period, rule.today) - ONE_DAY
    latest = calendar.floor(period, end)

    def through(settle_days: int) -> date | None:
        spans = final_spans(stored.coverage, period, calendar, settle_days)
        return spans[0].last if begin is not None and spans and spans[0].first <= begin else None

    return SeriesReport(
        series=stored.series,
        first=stored.first,
        last=stored.last,
        complete_through=through(0),
        final_through=through(rule.settle_days),
        gaps=gaps(Span(begin, end), covered) if begin is not None and begin <= end else [],
        lacks_latest=(begin is None or begin <= latest) and bool(gaps(Span(latest, end), covered)),
        absent=stored.absent,
        failed=stored.failed,
    )


def _quota(record: QuotaRecord | None, configured: Wanted | None, now: float) -> QuotaReport:
    if record is None:
        return QuotaReport(configured.limit if configured else None, None, None)
    reserve = configured.reserve if configured else 0
    if record.resets_at is None:
        return QuotaReport(record.limit, None, None)
    if record.resets_at <= now + record.server_ahead:  # that window is over, and nothing was sent in this one
        return QuotaReport(record.limit, usable_limit(record.limit, reserve), None)
    return QuotaReport(record.limit, record.left(reserve), record.resets_at)


def _state(status: AccountStatus | None, quota: QuotaReport) -> tuple[RecordedState, str | None]:
    if status is not None and status.state is not RecordedState.OK:
        return status.state, status.reason or None
    if quota.remaining == 0 and quota.resets_at is not None:
        return RecordedState.WAITING, f"the quota is spent until {utc_time(quota.resets_at)}"
    return RecordedState.OK, None


def as_json(report: Report, error: dict[str, str] | None = None) -> dict[str, Any]:
    """What `status --json` prints; see the contract."""
    return {
        "version": __version__,
        "schema_version": report.schema_version,
        "generated_at": utc_time(report.generated_at),
        "accounts": [_account_json(account) for account in report.accounts],
        "error": error,
    }


def _account_json(account: AccountReport) -> dict[str, Any]:
    quota = account.quota
    return {
        "name": account.name,
        "state": account.state.value,
        "reason": account.reason,
        "holder": account.holder,
        "quota": {
            "limit": quota.limit,
            "remaining": quota.remaining,
            "resets_at": None if quota.resets_at is None else utc_time(quota.resets_at),
        },
        "series": [_series_json(one) for one in account.series],
    }


def _series_json(one: SeriesReport) -> dict[str, Any]:
    return {
        "resource": one.series.resource,
        "phone": one.series.phone,
        "period": one.series.period.value,
        "first": _iso(one.first),
        "last": _iso(one.last),
        "complete_through": _iso(one.complete_through),
        "final_through": _iso(one.final_through),
        "gaps": [[gap.first.isoformat(), gap.last.isoformat()] for gap in one.gaps],
        "absent": one.absent,
        "failed_slices": len(one.failed),
    }


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
