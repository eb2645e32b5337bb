"""Queries shared by AccountStore, which reads one account, and Reader, which reads all."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Row, select

from harvester.core.absence import AbsentSpan
from harvester.core.model import QuotaRecord, RangeKey, RangeLimits, Series, Stretch
from harvester.core.period import Period, WeekStart
from harvester.store import schema
from harvester.store.types import AccountIdentity, FailedRange

QUOTA_FIELDS = tuple(field.name for field in fields(QuotaRecord))
RANGE_LIMITS_FIELDS = tuple(field.name for field in fields(RangeLimits))
SERIES = (
    schema.account.c.name.label("account"),
    schema.series.c.resource,
    schema.series.c.phone,
    schema.series.c.period,
)


def series_of(row: Row[*tuple[Any, ...]]) -> Series:
    """Return the series of a row with the columns of `SERIES`."""
    return Series(row.account, row.resource, row.phone, Period(row.period))


def coverage(connection: Connection, account: str | None) -> dict[Series, list[Stretch]]:
    """Return the coverage of an account's series (None: of all accounts), each in order."""
    table = schema.coverage
    statement = (
        select(*SERIES, table.c.first_day, table.c.last_day, table.c.asked_on, table.c.lag)
        .select_from(table.join(schema.series).join(schema.account))
        .order_by(table.c.series_id, table.c.first_day)
    )
    if account is not None:
        statement = statement.where(schema.account.c.name == account)
    found: dict[Series, list[Stretch]] = {}
    for row in connection.execute(statement):
        stretch = Stretch(row.first_day, row.last_day, row.asked_on, row.lag)
        found.setdefault(series_of(row), []).append(stretch)
    return found


def failed(connection: Connection, account: str | None) -> list[FailedRange]:
    """Return the failed slices of an account (None: of all accounts), by series and day."""
    table = schema.failed_slice
    statement = (
        select(*SERIES, table)
        .select_from(table.join(schema.series).join(schema.account))
        .order_by(table.c.series_id, table.c.first_day)
    )
    if account is not None:
        statement = statement.where(schema.account.c.name == account)
    return [
        FailedRange(series_of(row), row.first_day, row.last_day, row.error_code, row.error, row.failed_at, row.attempts)
        for row in connection.execute(statement)
    ]


def unconfirmed_absence(connection: Connection, account: str | None) -> dict[Series, list[AbsentSpan]]:
    """Return the unconfirmed absence of an account's series (None: of all accounts), each in order."""
    table = schema.unconfirmed_absence
    statement = (
        select(*SERIES, table.c.first_day, table.c.last_day, table.c.seen_on, table.c.width)
        .select_from(table.join(schema.series).join(schema.account))
        .order_by(table.c.series_id, table.c.first_day)
    )
    if account is not None:
        statement = statement.where(schema.account.c.name == account)
    found: dict[Series, list[AbsentSpan]] = {}
    for row in connection.execute(statement):
        span = AbsentSpan(row.first_day, row.last_day, row.seen_on, row.width)
        found.setdefault(series_of(row), []).append(span)
    return found


def range_limits(connection: Connection, account_id: int) -> dict[RangeKey, RangeLimits]:
    """Return the ranges that the server accepts, by resource and period."""
    table = schema.range_limits
    columns = [table.c[name] for name in RANGE_LIMITS_FIELDS]
    rows = connection.execute(
        select(table.c.resource, table.c.period, *columns).where(table.c.account_id == account_id)
    )
    return {(resource, Period(period)): RangeLimits(*known) for resource, period, *known in rows}


def quota(connection: Connection, spender: str) -> QuotaRecord | None:
    """Return the quota record of a spender; None if there is none."""
    table = schema.quota
    columns = [table.c[name] for name in QUOTA_FIELDS]
    row = connection.execute(select(*columns).where(table.c.spender == spender)).first()
    return QuotaRecord(*row) if row else None


def identity(connection: Connection, row: Row[*tuple[Any, ...]]) -> AccountIdentity:
    """Return the account of a row of `account`, with its phones."""
    table = schema.phone
    phones = connection.execute(
        select(table.c.phone, table.c.name).where(table.c.account_id == row.id).order_by(table.c.phone)
    )
    return AccountIdentity(
        name=row.name,
        base_url=row.base_url,
        timezone=row.timezone,
        week_start=WeekStart(row.week_start),
        settle_days=row.settle_days,
        start=row.start,
        phones=tuple((phone.phone, phone.name) for phone in phones),
        spender=row.spender,
    )
