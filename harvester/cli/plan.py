"""`harvester plan`."""

from __future__ import annotations

import click

from harvester.cli.frame import Filters, Invocation, common, emit_json, filtered, json_option, load_settings, warn


@click.command()
@click.option("--start", required=True, metavar="DAY", help="First day: YYYY-MM-DD, today or yesterday.")
@click.option("--end", default="today", show_default=True, metavar="DAY", help="Last day, inclusive.")
@filtered
@json_option
@common
def plan(invocation: Invocation, *, start: str, end: str, filters: Filters, as_json: bool) -> None:
    """Estimate a backfill: slices, requests, quota windows and time. Fetches nothing, creates nothing."""
    import os

    from harvester.check.advice import advise
    from harvester.cli.dates import parse_days
    from harvester.engine.account_plan import BackfillRequest
    from harvester.reports import estimate as planning

    request = BackfillRequest(days=parse_days(start, end))
    settings = load_settings(invocation, filters)
    warn(advise(settings), invocation)
    try:
        estimate = planning.estimate(settings, request, os.environ)
    except Exception as error:
        if as_json:
            emit_json(planning.as_json(planning.Estimate(()), error))
        raise
    if as_json:
        emit_json(planning.as_json(estimate))
        return
    for line in planning.lines(estimate):
        click.echo(line)
