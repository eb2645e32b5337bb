"""`harvester run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from harvester.cli.frame import Filters, Invocation, common, filtered, json_option

if TYPE_CHECKING:
    from harvester.config import Settings


@click.command(short_help="Run the daemon: keep every series complete and fresh.")
@click.option("--once", is_flag=True, help="Make one round, then end: for cron, timers and jobs.")
@filtered
@json_option
@common
def run(invocation: Invocation, *, once: bool, filters: Filters, as_json: bool) -> None:
    """Run the daemon: keep every configured series complete and fresh, until SIGTERM.

    With --once, request what is missing since each account's start, not final or failed, then end. Output and exit
    codes are those of `backfill`.
    """
    from harvester.cli import harvesting
    from harvester.cli.backfill import result_printer
    from harvester.cli.frame import load_settings
    from harvester.errors import UsageError

    def load() -> Settings:
        return load_settings(invocation, filters)

    settings = load()
    if once:
        show = result_printer(as_json=as_json)
        sys.exit(harvesting.once(settings, verbose=invocation.verbose, quiet=invocation.quiet, show=show))
    if as_json:
        raise UsageError("--json needs --once: the daemon has no result")
    sys.exit(harvesting.serve(settings, load, verbose=invocation.verbose, quiet=invocation.quiet))
