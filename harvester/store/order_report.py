"""The report of an order as the database stores it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

from harvester.core.model import FailedSlice, RowCounts, RunReport, Series, Slice, SliceCounts
from harvester.core.period import Period
from harvester.errors import (
    CalendarMismatch,
    ConfigError,
    CredentialsRefused,
    HarvesterError,
    RequestsRefused,
    SourceError,
    StoreError,
    Unreachable,
)

_ERRORS: Mapping[str, type[HarvesterError]] = {
    error.code: error for error in (Unreachable, CredentialsRefused, RequestsRefused, ConfigError, StoreError)
}


def encode_report(report: RunReport) -> str:
    """Return a report as the database stores it."""
    failed = [
        {
            "series": [failure.slice.series.resource, failure.slice.series.phone, failure.slice.series.period.value],
            "days": [failure.slice.first.isoformat(), failure.slice.last.isoformat()],
            "code": failure.code,
            "error": failure.error,
        }
        for failure in report.failed
    ]
    counts = {name: getattr(report, name) for name in ("requests", "rate_limited", "retries", "unconfirmed_absent")}
    return json.dumps({**counts, "slices": asdict(report.slices), "rows": asdict(report.rows), "failed": failed})


def decode_report(text: str, report: RunReport) -> None:
    """Fill a report from the text that `encode_report` returned; an empty text is the one before the first report."""
    if not text:
        return
    found: dict[str, Any] = json.loads(text)
    report.requests, report.rate_limited, report.retries = (
        found[name] for name in ("requests", "rate_limited", "retries")
    )
    report.unconfirmed_absent = found.get("unconfirmed_absent", 0)  # not in older reports
    report.slices = SliceCounts(**found["slices"])
    report.rows = RowCounts(**found["rows"])
    report.failed = [_failure(report.account, each) for each in found["failed"]]


def order_error(code: str, detail: str) -> HarvesterError:
    """Return the error that ended an order, of a class with the same exit code as the original."""
    if code == CalendarMismatch.code:
        return CalendarMismatch(detail, setting="", fits=None)
    return _ERRORS.get(code, SourceError)(detail)


def _failure(account: str, found: dict[str, Any]) -> FailedSlice:
    resource, phone, period = found["series"]
    first, last = map(date.fromisoformat, found["days"])
    piece = Slice(Series(account, resource, phone, Period(period)), first, last)
    return FailedSlice(piece, found.get("code", HarvesterError.code), found["error"])  # older reports have no code
