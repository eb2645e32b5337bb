"""Outcome of a run, per account and as a whole: exit codes, and the JSON that `backfill` and `run --once` print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harvester.core.model import RowCounts, RunReport, SliceCounts
from harvester.errors import ExitCode, HarvesterError, describe_error, exit_code


@dataclass(slots=True)
class AccountOutcome:
    """Report of one account, and the error that ended its run early, if any."""

    report: RunReport
    error: Exception | None = None

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of this account alone."""
        if isinstance(self.error, HarvesterError):
            return self.error.exit_code
        if self.error is not None:
            return ExitCode.BUG
        return ExitCode.FAILED_SLICES if self.report.slices.failed else ExitCode.OK


def decisive_error(outcomes: Sequence[AccountOutcome]) -> Exception | None:
    """Return the error that decides the exit code of the process; None if failed slices or nothing decide it."""
    code = exit_code(outcome.exit_code for outcome in outcomes)
    return next((o.error for o in outcomes if o.error is not None and o.exit_code == code), None)


def as_json(outcomes: Sequence[AccountOutcome], elapsed: float, error: Exception | None = None) -> dict[str, Any]:
    """Return the object that `backfill --json` prints.

    Args:
        outcomes: one per account.
        elapsed: seconds that the run took.
        error: what ended the run of all accounts, if anything did.
    """
    slices, rows = SliceCounts(), RowCounts()
    for outcome in outcomes:
        rows.add(outcome.report.rows)
        slices.planned += outcome.report.slices.planned
        slices.done += outcome.report.slices.done
        slices.failed += outcome.report.slices.failed
        slices.already_covered += outcome.report.slices.already_covered
    return {
        "requests": sum(outcome.report.requests for outcome in outcomes),
        "rate_limited": sum(outcome.report.rate_limited for outcome in outcomes),
        "retries": sum(outcome.report.retries for outcome in outcomes),
        "slices": asdict(slices),
        "rows": asdict(rows),
        "unconfirmed_absent": sum(outcome.report.unconfirmed_absent for outcome in outcomes),
        "elapsed_seconds": round(elapsed, 3),
        "failed": [
            {
                "account": failure.slice.series.account,
                "resource": failure.slice.series.resource,
                "phone": failure.slice.series.phone,
                "period": failure.slice.series.period.value,
                "start": failure.slice.first.isoformat(),
                "end": failure.slice.last.isoformat(),
                "error": failure.error,
            }
            for outcome in outcomes
            for failure in outcome.report.failed
        ],
        "accounts": [
            {
                "name": outcome.report.account,
                "exit": outcome.exit_code,
                "error": describe_error(outcome.error),
                "requests": outcome.report.requests,
            }
            for outcome in outcomes
        ],
        "error": describe_error(error or decisive_error(outcomes)),
    }
