"""How a run ended, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harvester.console.text import counted, duration
from harvester.core.model import RowCounts
from harvester.errors import Busy, Interrupted

if TYPE_CHECKING:
    from harvester.backfill.outcome import AccountOutcome

_SHOWN = 5  # failed slices


def summary(outcomes: Sequence[AccountOutcome], elapsed: float) -> list[str]:
    """What was done, and what to do next. What went wrong is told where errors are.

    Args:
        outcomes: of every account.
        elapsed: seconds that it took.
    """
    lines = [_work(outcomes, elapsed), *_rows(outcomes), *_failures(outcomes)]
    troubles = [one.error for one in outcomes if one.error is not None]
    if any(isinstance(error, Interrupted) for error in troubles):
        lines.append("Interrupted. What was fetched is kept; the same command goes on from there.")
    elif troubles and not all(isinstance(error, Busy) for error in troubles):
        lines.append("What was fetched is kept; once that is mended, the same command goes on from there.")
    elif any(one.report.slices.failed for one in outcomes):
        lines.append("The same command asks for what failed again, and for nothing else that is final.")
    return lines


def _work(outcomes: Sequence[AccountOutcome], elapsed: float) -> str:
    slices = [one.report.slices for one in outcomes]
    planned, done = (sum(getattr(one, name) for one in slices) for name in ("planned", "done"))
    covered = sum(one.already_covered for one in slices)
    requests = sum(one.report.requests for one in outcomes)
    if not planned and not requests:
        if any(one.error for one in outcomes):
            return "Nothing was asked for."
        return f"Nothing to ask for: {counted(covered, 'slice')} already covered."
    text = f"{done:,} of {counted(planned, 'slice')} done by {counted(requests, 'request')} in {duration(elapsed)}"
    if covered:
        text += f"; {counted(covered, 'slice')} already covered"
    limited = sum(one.report.rate_limited for one in outcomes)
    return f"{text}; {counted(limited, 'request')} over the limit." if limited else f"{text}."


def _rows(outcomes: Sequence[AccountOutcome]) -> list[str]:
    rows = RowCounts()
    for one in outcomes:
        rows.add(one.report.rows)
    if rows == RowCounts():
        return []
    parts = [f"{rows.new:,} new", f"{rows.changed:,} changed", f"{rows.unchanged:,} unchanged"]
    if rows.rejected:
        parts.append(f"{rows.rejected:,} rejected")
    text = f"Values: {', '.join(parts)}."
    return [f"{text} {counted(rows.absent, 'period')} absent from the answers." if rows.absent else text]


def _failures(outcomes: Sequence[AccountOutcome]) -> list[str]:
    failed = [failure for one in outcomes for failure in one.report.failed]
    if not failed:
        return []
    lines = [f"{counted(len(failed), 'slice')} failed:"]
    lines += [f"  {failure.slice}: {failure.error}" for failure in failed[:_SHOWN]]
    if len(failed) > _SHOWN:
        lines.append(f"  and {len(failed) - _SHOWN:,} more; `harvester status` names them all")
    return lines
