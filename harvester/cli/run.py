"""`harvester run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from harvester.cli.frame import Filters, Invocation, common, filtered, json_option

if TYPE_CHECKING:
    from harvester.config import Settings


@click.command(short_help="Keep everything complete and fresh: the daemon.")
@click.option("--once", is_flag=True, help="One round, then end: for cron, timers and jobs.")
@filtered
@json_option
@common
def run(invocation: Invocation, *, once: bool, filters: Filters, as_json: bool) -> None:
    """Keep every configured series complete and fresh, until SIGTERM.

    With --once: what is missing from each account's start, what is not final, what failed; output and exit codes as
    of `backfill`.
    """
    from harvester.cli import harvesting
    from harvester.cli.backfill import shower
    from harvester.cli.frame import load_settings
    from harvester.errors import UsageError

    def load() -> Settings:
        return load_settings(invocation, filters)

    settings = load()
    if once:
        show = shower(as_json=as_json)
        sys.exit(harvesting.once(settings, verbose=invocation.verbose, quiet=invocation.quiet, show=show))
    if as_json:
        raise UsageError("--json goes with --once: the daemon has no result")
    sys.exit(harvesting.serve(settings, load, verbose=invocation.verbose, quiet=invocation.quiet))
