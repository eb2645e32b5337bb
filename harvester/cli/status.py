"""`harvester status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harvester.cli.frame import common, emit_json, filtered, json_option, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harvester.app.status import Report
    from harvester.app.status_text import Line
    from harvester.cli.frame import Filters, Invocation

ATTENTION = 3


@click.command(short_help="Show what is stored and what is missing.")
@filtered
@click.option("--db", metavar="URL", help="Read this database (a URL or an SQLite file); no configuration is read.")
@click.option("--exit-code", is_flag=True, help="Leave with 3 if anything failed, is paused, or lacks yesterday.")
@json_option
@common
def status(invocation: Invocation, *, filters: Filters, db: str | None, exit_code: bool, as_json: bool) -> None:
    """Show what is stored, what is missing and how the accounts fare, from the database alone."""
    import time  # noqa: PLC0415 - imports wait until the command runs

    from harvester.app import status as app  # noqa: PLC0415 - as above
    from harvester.app.outcome import describe_error  # noqa: PLC0415 - as above
    from harvester.errors import StoreError  # noqa: PLC0415 - as above

    now = time.time()
    try:
        report = _report(invocation, filters, db, now)
    except StoreError as error:
        if as_json:
            emit_json(app.as_json(app.Report(now, None), describe_error(error)))
        raise
    if as_json:
        emit_json(app.as_json(report))
    else:
        from harvester.app.status_text import lines  # noqa: PLC0415 - as above

        _show(lines(report, every_series=bool(filters)))
    if exit_code and report.needs_attention:
        raise SystemExit(ATTENTION)


def _report(invocation: Invocation, filters: Filters, db: str | None, now: float) -> Report:
    import os  # noqa: PLC0415 - as above
    from pathlib import Path  # noqa: PLC0415 - as above

    from harvester import config  # noqa: PLC0415 - as above
    from harvester.app import status as app  # noqa: PLC0415 - as above
    from harvester.app import stored  # noqa: PLC0415 - as above
    from harvester.app.stored_filters import narrow  # noqa: PLC0415 - as above

    choices = (filters.accounts, filters.phones, filters.resources, filters.periods)
    wanted = None
    if db is not None:
        place = stored.named_place(db, os.environ, cwd=Path.cwd(), home=Path.home())
    else:
        settings = load_settings(invocation)
        place = stored.configured_place(settings, os.environ)
        if settings.accounts:
            wanted = app.wanted(config.narrow(settings, *choices))
    with place.open() as reader:
        accounts, schema_version = reader.accounts(), reader.schema_version
    if wanted is None:
        accounts = narrow(accounts, *choices)
    return app.build(accounts, wanted, now, schema_version)


def _show(lines: Sequence[Line]) -> None:
    import os  # noqa: PLC0415 - as above
    import sys  # noqa: PLC0415 - as above

    from harvester.app.status_text import Tone  # noqa: PLC0415 - as above

    styles = {Tone.HEAD: {"bold": True}, Tone.WARNING: {"fg": "yellow"}, Tone.TROUBLE: {"fg": "red"}}
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines:
        click.echo(click.style(line.text, **styles.get(line.tone, {})) if coloured else line.text)  # type: ignore[arg-type]
