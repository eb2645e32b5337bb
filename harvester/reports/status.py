"""Report of the `status` command: pure functions of the stored series, the configuration and the time.

With a configuration the report covers the configured series: those never stored are included, and stored ones that are
no longer configured are only counted, since a removed number would otherwise lack yesterday for ever. Without a
configuration it covers every stored series.

A series is expected from the earlier of the configured start and its first stored day, in whole periods, up to the
last period that had ended by yesterday, or before what the API does not serve yet. Gaps are days of that range that no
answer covers. A period that an answer left out is absent and no gap, but it is not final before a second answer
confirms its absence (core/absence.py). Days and zones are those of the stored rows, which a configuration cannot
change.

The cost depends on the number of stretches, not of days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from harvester import __version__
from harvester.config import Settings
from harvester.console.text import utc_time
from harvester.core.absence import AbsentSpan, count_periods
from harvester.core.coverage import Span, final_spans, gaps
from harvester.core.model import QuotaRecord, RangeKey, Series, usable_limit
from harvester.core.period import ONE_DAY, Calendar
from harvester.core.range_limits import last_served_to_all
from harvester.engine.account_plan import configured_series
from harvester.store.types import AccountStatus, FailedRange, RecordedState, SeriesStatus


@dataclass(frozen=True, slots=True)
class ConfiguredAccount:
    """The part of an account's configuration that the report needs."""

    name: str
    calendar: Calendar
    settle_days: int
    start: date | None
    limit: int  # requests per window
    reserve: int
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """The account's present quota window.

    `remaining` is None where it is unknown, `resets_at` also where no request was counted in the window yet.
    """

    limit: int | None
    remaining: int | None  # requests, less the reserve
    resets_at: int | None  # server's epoch second


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """Completeness of a series. No day up to `complete_through` and `final_through` is missing."""

    series: Series
    first: date | None  # first and last period with a value
    last: date | None
    complete_through: date | None
    final_through: date | None
    gaps: Sequence[Span]
    lacks_latest: bool  # the last period that has ended: yesterday, for days
    absent: int  # periods, those included that are not confirmed
    failed: Sequence[FailedRange]
    unconfirmed: Sequence[AbsentSpan] = ()  # absence that is not confirmed, and so not final
    unconfirmed_absent: int = 0  # periods

    @property
    def gap_days(self) -> int:
        """The number of missing days."""
        return sum((gap.last - gap.first).days + 1 for gap in self.gaps)

    @property
    def has_problem(self) -> bool:
        """True if the series gets a line of its own."""
        return bool(self.gaps or self.failed or self.lacks_latest)


@dataclass(frozen=True, slots=True)
class AccountReport:
    """State of an account."""

    name: str
    state: RecordedState
    reason: str | None
    holder: str | None  # process that claimed it last; a killed one stays until the next claim
    quota: QuotaReport
    series: Sequence[SeriesReport]
    clock_skew: float | None = None  # seconds by which the clock was ahead of the API's at the last recorded request
    served_until: Mapping[RangeKey, date] = field(default_factory=dict)  # where the API does not serve yesterday yet


@dataclass(frozen=True, slots=True)
class Report:
    """State of all accounts at one moment."""

    generated_at: float  # epoch seconds
    schema_version: str | None
    accounts: Sequence[AccountReport] = ()
    unconfigured: int = 0  # stored series that are not configured

    @property
    def needs_attention(self) -> bool:
        """True if anything failed, is paused, or lacks yesterday."""
        return any(
            account.state is RecordedState.PAUSED or any(one.failed or one.lacks_latest for one in account.series)
            for account in self.accounts
        )


def configured_accounts(settings: Settings) -> list[ConfiguredAccount]:
    """Return the configured accounts."""
    return [
        ConfiguredAccount(
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
    stored: Sequence[AccountStatus], configured: Sequence[ConfiguredAccount] | None, now: float, schema_version: str
) -> Report:
    """Return the report on the configured series, or with None on all stored ones (`now`: epoch seconds)."""
    if configured is None:
        return Report(now, schema_version, [_account(status, None, now) for status in stored])
    by_name = {status.identity.name: status for status in stored}
    chosen = {one for account in configured for one in account.series}
    return Report(
        now,
        schema_version,
        [_account(by_name.get(account.name), account, now) for account in configured],
        sum(one.series not in chosen for status in stored for one in status.series),
    )


def _account(status: AccountStatus | None, configured: ConfiguredAccount | None, now: float) -> AccountReport:
    """Return the report on one account; one of the two may be None."""
    quota = _quota(status.quota if status else None, configured, now)
    state, reason = _state(status, quota)
    return AccountReport(
        name=status.identity.name if status else configured.name if configured else "",
        state=state,
        reason=reason,
        holder=status.holder or None if status else None,
        quota=quota,
        series=_all_series(status, configured, now),
        clock_skew=-status.quota.server_ahead if status is not None and status.quota is not None else None,
        served_until=_served_until(status, now),
    )


def _served_until(status: AccountStatus | None, now: float) -> dict[RangeKey, date]:
    """Return the last day that the API serves so far, where that is before yesterday."""
    if status is None:
        return {}
    today = Calendar(ZoneInfo(status.identity.timezone), status.identity.week_start).local_date(now)
    found = {key: last_served_to_all(limits, today, now) for key, limits in status.range_limits.items()}
    return {key: day for key, day in sorted(found.items()) if day is not None and day < today - ONE_DAY}


def _all_series(status: AccountStatus | None, configured: ConfiguredAccount | None, now: float) -> list[SeriesReport]:
    found = {one.series: one for one in status.series} if status else {}
    if status is not None:
        identity = status.identity
        calendar = Calendar(ZoneInfo(identity.timezone), identity.week_start)
        served = _served_until(status, now)
        rule = _Rule(calendar, calendar.local_date(now), identity.settle_days, identity.start, served)
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
    served_until: Mapping[RangeKey, date] = field(default_factory=dict)


def _series(stored: SeriesStatus, rule: _Rule) -> SeriesReport:
    period, calendar = stored.series.period, rule.calendar
    covered = [Span(stretch.first, stretch.last) for stretch in stored.coverage]
    begins = [day for day in (rule.start, *(span.first for span in covered[:1])) if day is not None]
    begin = calendar.floor(period, min(begins)) if begins else None
    served = rule.served_until.get(stored.series.range_key, rule.today)
    end = calendar.floor(period, min(rule.today, served + ONE_DAY)) - ONE_DAY
    latest = calendar.floor(period, end)
    unconfirmed = [Span(span.first, span.last) for span in stored.unconfirmed]
    latest_found = [part for span in covered for part in gaps(span, unconfirmed)]

    def through(settle_days: int) -> date | None:
        found = final_spans(stored.coverage, period, calendar, settle_days)
        spans = [part for span in found for part in gaps(span, unconfirmed)]
        return spans[0].last if begin is not None and spans and spans[0].first <= begin else None

    return SeriesReport(
        series=stored.series,
        first=stored.first,
        last=stored.last,
        complete_through=through(0),
        final_through=through(rule.settle_days),
        gaps=gaps(Span(begin, end), covered) if begin is not None and begin <= end else [],
        lacks_latest=(begin is None or begin <= latest) and bool(gaps(Span(latest, end), latest_found)),
        absent=stored.absent,
        failed=stored.failed,
        unconfirmed=stored.unconfirmed,
        unconfirmed_absent=count_periods(stored.unconfirmed, period, calendar),
    )


def _quota(record: QuotaRecord | None, configured: ConfiguredAccount | None, now: float) -> QuotaReport:
    if record is None:
        return QuotaReport(configured.limit if configured else None, None, None)
    reserve = configured.reserve if configured else 0
    if record.resets_at is None:
        return QuotaReport(record.limit, None, None)
    if record.resets_at <= now + record.server_ahead:  # that window is over, nothing was sent since
        return QuotaReport(record.limit, usable_limit(record.limit, reserve), None)
    return QuotaReport(record.limit, record.left(reserve), record.resets_at)


def _state(status: AccountStatus | None, quota: QuotaReport) -> tuple[RecordedState, str | None]:
    if status is not None and status.state is not RecordedState.OK:
        return status.state, status.reason or None
    if quota.remaining == 0 and quota.resets_at is not None:
        return RecordedState.WAITING, f"the quota is spent until {utc_time(quota.resets_at)}"
    return RecordedState.OK, None


def as_json(report: Report, error: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the object that `status --json` prints."""
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
        "clock_skew_seconds": None if account.clock_skew is None else round(account.clock_skew, 1),
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
        "unconfirmed_absent": one.unconfirmed_absent,
        "failed_slices": len(one.failed),
    }


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
