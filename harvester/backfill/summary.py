"""Result of a run as text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from harvester.backfill.outcome import AccountOutcome
from harvester.console.text import counted, duration
from harvester.core.model import RowCounts
from harvester.errors import Busy, Interrupted

_MAX_NAMED = 5  # failed slices


def summary(outcomes: Sequence[AccountOutcome], elapsed: float) -> list[str]:
    """Return the lines that say what was done and what to do next; errors are reported elsewhere, on stderr.

    Args:
        outcomes: one per account.
        elapsed: seconds that the run took.
    """
    lines = [_work(outcomes, elapsed), *_rows(outcomes), *_unconfirmed(outcomes), *_failures(outcomes)]
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    interrupted = next((error for error in errors if isinstance(error, Interrupted)), None)
    if interrupted is not None:
        lines.append(str(interrupted))
    elif errors and not all(isinstance(error, Busy) for error in errors):
        lines.append("Everything stored so far is safe. Fix the error, then run the same command again to continue.")
    elif any(outcome.report.slices.failed for outcome in outcomes):
        lines.append("Run the same command again to retry the failed slices; nothing else that is final is requested.")
    return lines


def _work(outcomes: Sequence[AccountOutcome], elapsed: float) -> str:
    slices = [outcome.report.slices for outcome in outcomes]
    planned, done = (sum(getattr(counts, name) for counts in slices) for name in ("planned", "done"))
    covered = sum(counts.already_covered for counts in slices)
    requests = sum(outcome.report.requests for outcome in outcomes)
    if not planned and not requests:
        if any(outcome.error for outcome in outcomes):
            return "Nothing was requested."
        return f"Nothing to request: {counted(covered, 'slice')} already covered."
    text = f"{done:,} of {counted(planned, 'slice')} done by {counted(requests, 'request')} in {duration(elapsed)}"
    if covered:
        text += f"; {counted(covered, 'slice')} already covered"
    limited = sum(outcome.report.rate_limited for outcome in outcomes)
    return f"{text}; {counted(limited, 'request')} refused by the quota." if limited else f"{text}."


def _rows(outcomes: Sequence[AccountOutcome]) -> list[str]:
    rows = RowCounts()
    for outcome in outcomes:
        rows.add(outcome.report.rows)
    if rows == RowCounts():
        return []
    parts = [f"{rows.new:,} new", f"{rows.changed:,} changed", f"{rows.unchanged:,} unchanged"]
    if rows.rejected:
        parts.append(f"{rows.rejected:,} rejected")
    text = f"Values: {', '.join(parts)}."
    return [f"{text} {counted(rows.absent, 'period')} absent from the answers." if rows.absent else text]


def _unconfirmed(outcomes: Sequence[AccountOutcome]) -> list[str]:
    count = sum(outcome.report.unconfirmed_absent for outcome in outcomes)
    if not count:
        return []
    verb, they = ("is", "it") if count == 1 else ("are", "them")
    why = "because the API has a 0 for a period without calls"
    text = f"{counted(count, 'absent period')} {verb} not final yet, {why}."
    return [f"{text} From tomorrow on the daemon, or the same command, requests {they} again."]


def _failures(outcomes: Sequence[AccountOutcome]) -> list[str]:
    failed = [failure for outcome in outcomes for failure in outcome.report.failed]
    if not failed:
        return []
    lines = [f"{counted(len(failed), 'slice')} failed:"]
    lines += [f"  {failure.slice}: {failure.error}" for failure in failed[:_MAX_NAMED]]
    if len(failed) > _MAX_NAMED:
        lines.append(f"  and {len(failed) - _MAX_NAMED:,} more; `harvester status` lists them all")
    return lines
