"""`harvester plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harvester.cli.frame import common, emit_json, filtered, json_option, load_settings, warn

if TYPE_CHECKING:
    from harvester.cli.frame import Filters, Invocation


@click.command()
@click.option("--start", required=True, metavar="DAY", help="First day: YYYY-MM-DD, today or yesterday.")
@click.option("--end", default="today", show_default=True, metavar="DAY", help="Last day, inclusive.")
@filtered
@json_option
@common
def plan(invocation: Invocation, *, start: str, end: str, filters: Filters, as_json: bool) -> None:
    """Show what a backfill would cost. Fetches nothing, creates nothing."""
    import os  # noqa: PLC0415 - imports wait until the command runs

    from harvester.app import plan as planning  # noqa: PLC0415 - as above
    from harvester.app.account import Order  # noqa: PLC0415 - as above
    from harvester.app.advice import advise  # noqa: PLC0415 - as above
    from harvester.app.dates import parse_days  # noqa: PLC0415 - as above

    order = Order(days=parse_days(start, end))
    settings = load_settings(invocation, filters)
    warn(advise(settings), invocation)
    try:
        estimate = planning.estimate(settings, order, os.environ)
    except Exception as error:
        if as_json:
            emit_json(planning.as_json(planning.Estimate(()), error))
        raise
    if as_json:
        emit_json(planning.as_json(estimate))
        return
    for line in planning.lines(estimate):
        click.echo(line)
