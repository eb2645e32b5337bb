"""`harvester backfill`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from harvester.cli.frame import (
    Filters,
    Invocation,
    common,
    emit_json,
    filtered,
    json_option,
    load_settings,
    print_error,
)
from harvester.errors import Interrupted

if TYPE_CHECKING:
    from harvester.backfill.run import BackfillResult


@click.command()
@click.option("--start", required=True, metavar="DAY", help="First day: YYYY-MM-DD, today or yesterday.")
@click.option("--end", default="today", show_default=True, metavar="DAY", help="Last day, inclusive.")
@filtered
@click.option("--refetch", is_flag=True, help="Also request final periods again.")
@click.option("--no-wait", is_flag=True, help="Exit with 75 instead of waiting if another process holds an account.")
@json_option
@common
def backfill(
    invocation: Invocation, *, start: str, end: str, filters: Filters, refetch: bool, no_wait: bool, as_json: bool
) -> None:
    """Harvest a past range, then end.

    Requests what is missing, not final or failed. After an interruption, the same command continues.
    """
    from harvester.cli import harvesting
    from harvester.cli.dates import parse_days
    from harvester.engine.account_plan import BackfillRequest

    request = BackfillRequest(days=parse_days(start, end), refetch=refetch, wait=not no_wait)
    settings = load_settings(invocation, filters)
    sys.exit(
        harvesting.backfill(
            settings, request, verbose=invocation.verbose, quiet=invocation.quiet, show=result_printer(as_json=as_json)
        )
    )


def result_printer(*, as_json: bool) -> Callable[[BackfillResult, Exception | None], None]:
    """Return a function that prints the result of a backfill on stdout and its errors on stderr."""

    def show(result: BackfillResult, error: Exception | None) -> None:
        from harvester.backfill.outcome import as_json as json_of
        from harvester.backfill.summary import summary

        if as_json:
            emit_json(json_of(result.outcomes, result.elapsed, error))
        else:
            for line in summary(result.outcomes, result.elapsed):
                click.echo(line)
        several = len(result.outcomes) > 1
        for outcome in result.outcomes:
            if isinstance(outcome.error, Interrupted) and not as_json:
                continue  # the summary says so once, for all accounts
            if outcome.error is not None and (error is None or several or outcome.error is error):
                print_error(outcome.error, about=outcome.report.account if several else None)
        if error is not None and not any(outcome.error is error for outcome in result.outcomes):
            print_error(error)

    return show
