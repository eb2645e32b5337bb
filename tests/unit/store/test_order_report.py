from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from harvester.core.model import FailedSlice, RowCounts, RunReport, Series, Slice, SliceCounts
from harvester.core.period import Period
from harvester.errors import CalendarMismatch, CredentialsRefused, HarvesterError, StoreError, Unreachable
from harvester.store.order_report import decode_report, encode_report, order_error

LINE = Series("main", "volume", "8005551234", Period.WEEK)


def test_decoding_restores_an_encoded_report() -> None:
    report = RunReport(
        "main",
        requests=7,
        rate_limited=1,
        retries=2,
        slices=SliceCounts(planned=5, done=3, failed=1, already_covered=4),
        rows=RowCounts(new=10, changed=1, unchanged=2, rejected=3, absent=4),
        failed=[FailedSlice(Slice(LINE, date(2024, 1, 7), date(2024, 1, 20)), "rejected", "no")],
    )
    copy = RunReport("main")
    decode_report(encode_report(report), copy)
    assert copy == report


def test_a_report_without_error_codes_is_read() -> None:
    report = RunReport("main", failed=[FailedSlice(Slice(LINE, date(2024, 1, 7), date(2024, 1, 20)), "rejected", "no")])
    older = json.loads(encode_report(report))
    for failed in older["failed"]:
        del failed["code"]
    copy = RunReport("main")
    decode_report(json.dumps(older), copy)
    assert copy.failed == [replace(report.failed[0], code="error")]


def test_before_the_first_report_nothing_changes() -> None:
    report = RunReport("main", requests=3)
    decode_report("", report)
    assert report == RunReport("main", requests=3)


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("no answer"),
        CredentialsRefused("no"),
        StoreError("full"),
        CalendarMismatch("other days", setting="timezone", fits=None),
    ],
)
def test_the_backfill_ends_with_the_error_of_the_daemon(error: HarvesterError) -> None:
    again = order_error(error.code, error.detail)
    assert (type(again), str(again), again.exit_code) == (type(error), str(error), error.exit_code)
