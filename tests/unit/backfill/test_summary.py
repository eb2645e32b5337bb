from __future__ import annotations

from datetime import date

from harvester.backfill.outcome import AccountOutcome, as_json
from harvester.backfill.summary import summary
from harvester.core.model import FailedSlice, RowCounts, RunReport, Series, Slice, SliceCounts
from harvester.core.period import Period
from harvester.errors import ConfigError, Interrupted


def outcome(name: str = "main", error: Exception | None = None, **counts: int) -> AccountOutcome:
    slices = SliceCounts(**{key: counts.pop(key, 0) for key in ("planned", "done", "failed", "already_covered")})
    requests = counts.pop("requests", 0)
    rate_limited = counts.pop("rate_limited", 0)
    rows = RowCounts(**counts)
    return AccountOutcome(RunReport(name, requests, rate_limited, slices=slices, rows=rows), error)


def failure(day: int) -> FailedSlice:
    series = Series("main", "performance", "8005550100", Period.DAY)
    return FailedSlice(Slice(series, date(2024, 1, day), date(2024, 1, day)), "rejected", "refused")


def test_a_good_run_in_two_lines() -> None:
    assert summary([outcome(planned=3, done=3, requests=4, new=10, changed=1)], 65.0) == [
        "3 of 3 slices done by 4 requests in 1 min 5 s.",
        "Values: 10 new, 1 changed, 0 unchanged.",
    ]


def test_a_run_without_work_says_so() -> None:
    assert summary([outcome(already_covered=7)], 0.1) == ["Nothing to request: 7 slices already covered."]


def test_rejected_and_absent_values_are_counted() -> None:
    lines = summary(
        [outcome(planned=1, done=1, requests=2, rate_limited=1, already_covered=2, rejected=3, absent=1)], 1
    )
    assert lines == [
        "1 of 1 slice done by 2 requests in 1 s; 2 slices already covered; 1 request refused by the quota.",
        "Values: 0 new, 0 changed, 0 unchanged, 3 rejected. 1 period absent from the answers.",
    ]


def test_unconfirmed_absence_is_reported_even_without_a_request() -> None:
    ended = outcome(already_covered=7)
    ended.report.unconfirmed_absent = 30
    first, second = summary([ended], 0.1)
    assert first == "Nothing to request: 7 slices already covered."
    assert second.startswith("30 absent periods are not final yet, because the API has a 0 for a period without calls.")
    assert second.endswith("From tomorrow on the daemon, or the same command, requests them again.")
    assert as_json([ended], 0.1)["unconfirmed_absent"] == 30


def test_the_first_failed_slices_are_named() -> None:
    ended = outcome(planned=9, done=2, failed=7, requests=9)
    ended.report.failed = [failure(day) for day in range(1, 8)]
    lines = summary([ended], 1)
    assert lines[1] == "7 slices failed:"
    assert lines[2] == "  main performance 8005550100 day 2024-01-01..2024-01-01: refused"
    assert lines[7] == "  and 2 more; `harvester status` lists them all"
    assert lines[8].startswith("Run the same command again to retry the failed slices")
    assert len(lines) == 9


def test_an_interrupted_run_says_how_to_continue() -> None:
    lines = summary([outcome("one", Interrupted(), planned=2, done=1, requests=1), outcome("two", Interrupted())], 1)
    assert lines[-1] == str(Interrupted())
    assert not [text for text in lines if text.startswith(("one", "two"))]


def test_after_an_error_it_says_how_to_continue() -> None:
    lines = summary([outcome("one", ConfigError("a: bad", "b: bad")), outcome("two", KeyError("x")), outcome()], 1)
    assert lines[0] == "Nothing was requested."
    assert lines[-1].endswith("run the same command again to continue.")
    assert not [text for text in lines if "bad" in text], "errors go to stderr"
