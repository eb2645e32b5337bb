"""`harvester status`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from harvester.cli.frame import (
    Filters,
    Invocation,
    common,
    current_directory,
    emit_json,
    filtered,
    home_directory,
    json_option,
    load_settings,
)

if TYPE_CHECKING:
    from harvester.reports.status import Report
    from harvester.reports.status_text import Line


@click.command(short_help="Report what is stored and what is missing.")
@filtered
@click.option("--db", metavar="URL", help="Read this database (URL or SQLite file) and no configuration.")
@click.option(
    "--exit-code", is_flag=True, help="Exit with 3 if a slice failed, an account is paused, or yesterday is missing."
)
@json_option
@common
def status(invocation: Invocation, *, filters: Filters, db: str | None, exit_code: bool, as_json: bool) -> None:
    """Report what is stored, what is missing and the state of each account, from the database alone."""
    import time

    from harvester.errors import ExitCode, StoreError, describe_error
    from harvester.reports import status as reporting

    now = time.time()
    try:
        report = _report(invocation, filters, db, now)
    except StoreError as error:
        if as_json:
            emit_json(reporting.as_json(reporting.Report(now, None), describe_error(error)))
        raise
    if as_json:
        emit_json(reporting.as_json(report))
    else:
        from harvester.reports.status_text import lines

        _print(lines(report, every_series=bool(filters)))
    if exit_code and report.needs_attention:
        raise SystemExit(ExitCode.FAILED_SLICES)


def _report(invocation: Invocation, filters: Filters, db: str | None, now: float) -> Report:
    import os

    from harvester import config
    from harvester.reports import database
    from harvester.reports import status as reporting
    from harvester.reports.filters import narrow

    choices = (filters.accounts, filters.phones, filters.resources, filters.periods)
    configured = None
    if db is not None:
        location = database.named_location(db, os.environ, cwd=current_directory(), home=home_directory())
    else:
        settings = load_settings(invocation)
        location = database.configured_location(settings, os.environ)
        if settings.accounts:
            configured = reporting.configured_accounts(config.narrow(settings, *choices))
    with location.open() as reader:
        accounts, schema_version = reader.accounts(), reader.schema_version
    if configured is None:
        accounts = narrow(accounts, *choices)
    return reporting.build(accounts, configured, now, schema_version)


def _print(lines: Sequence[Line]) -> None:
    import os
    import sys

    from harvester.reports.status_text import LineStyle

    styles = {LineStyle.HEADER: {"bold": True}, LineStyle.WARNING: {"fg": "yellow"}, LineStyle.ERROR: {"fg": "red"}}
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines:
        click.echo(click.style(line.text, **styles.get(line.style, {})) if coloured else line.text)  # type: ignore[arg-type]
