"""How a run ended, for every account and as a whole: exit code and the JSON that `backfill` and `run --once` print."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harvester.core.model import RowCounts, SliceCounts
from harvester.errors import HarvesterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harvester.core.model import RunReport

INTERRUPTED = 130
FAILED_SLICES = 3
PRECEDENCE = (INTERRUPTED, 1, 74, 78, 77, 69, 75, FAILED_SLICES, 0)


@dataclass(slots=True)
class AccountOutcome:
    """What became of one account."""

    report: RunReport
    error: Exception | None = None

    @property
    def exit_code(self) -> int:
        """This account's own exit code."""
        if isinstance(self.error, HarvesterError):
            return self.error.exit_code
        if self.error is not None:
            return 1
        return FAILED_SLICES if self.report.slices.failed else 0


def exit_code(codes: Iterable[int]) -> int:
    """The code of the whole: the gravest one."""
    present = set(codes)
    for code in PRECEDENCE:
        if code in present:
            return code
    return max(present, default=0)


def describe_error(error: Exception | None) -> dict[str, str] | None:
    """An error as JSON shows it; None for none."""
    if error is None:
        return None
    if isinstance(error, HarvesterError):
        return {"code": error.code, "message": str(error)}
    return {"code": "bug", "message": f"{type(error).__name__}: {error}"}


def gravest(outcomes: Sequence[AccountOutcome]) -> Exception | None:
    """The error that gives the whole its exit code, if it is one."""
    code = exit_code(outcome.exit_code for outcome in outcomes)
    return next((o.error for o in outcomes if o.error is not None and o.exit_code == code), None)


def as_json(outcomes: Sequence[AccountOutcome], elapsed: float, error: Exception | None = None) -> dict[str, Any]:
    """What `backfill --json` prints; see the contract."""
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
        "error": describe_error(error or gravest(outcomes)),
    }
