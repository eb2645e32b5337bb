"""`harvester export`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import click

from harvester.cli.frame import Filters, Invocation, common, current_directory, filtered, home_directory, load_settings
from harvester.errors import StoreLost, UsageError

if TYPE_CHECKING:
    from datetime import date

    from harvester.config import Settings
    from harvester.reports.database import DatabaseLocation
    from harvester.reports.export import ExportRequest, Range


@click.command(short_help="Write the stored figures of a resource for a spreadsheet.")
@click.argument("resource")
@click.option("--start", metavar="DAY", help="First day: YYYY-MM-DD, today or yesterday.")
@click.option("--end", metavar="DAY", help="Last day, inclusive.")
@filtered
@click.option("--incomplete", is_flag=True, help="Also export periods that had not ended when they were fetched.")
@click.option("--format", "kind", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True, help="Format.")
@click.option("-o", "--output", default="-", metavar="FILE", help="Write this file, whole or not at all; - is stdout.")
@click.option("--db", metavar="URL", help="Read this database (URL or SQLite file) and no configuration.")
@common
def export(
    invocation: Invocation,
    *,
    resource: str,
    start: str | None,
    end: str | None,
    filters: Filters,
    incomplete: bool,
    kind: str,
    output: str,
    db: str | None,
) -> None:
    """Write the stored figures of RESOURCE for a spreadsheet: one row per account, phone and period.

    RESOURCE is performance, volume, events or profile. By default: days, single numbers without ALL, complete periods
    only. --phone ALL selects the sum over all phones.
    """
    request = parse_request(
        resource,
        start=start,
        end=end,
        accounts=filters.accounts,
        phones=filters.phones,
        resources=filters.resources,
        periods=filters.periods,
        incomplete=incomplete,
    )
    location, settings = _find_database(invocation, db)
    count = _export(location, settings, request, kind, output)
    if not invocation.quiet and (output != "-" or not count):
        from harvester.console.text import counted

        click.echo(f"{'' if output == '-' else f'{output}: '}{counted(count, 'row')}", err=True)


def parse_request(
    resource: str,
    *,
    start: str | None,
    end: str | None,
    accounts: Sequence[str] = (),
    phones: Sequence[str] = (),
    resources: Sequence[str] = (),
    periods: Sequence[str] = (),
    incomplete: bool = False,
) -> ExportRequest:
    """Return the request that the command line describes; no database is needed to check it.

    Raises:
        UsageError: a value is unknown or invalid, or two contradict each other.
    """
    from harvester.config.wording import none_of
    from harvester.core.model import RESOURCES
    from harvester.core.period import Period
    from harvester.reports.export import ExportRequest
    from harvester.reports.filters import phone_numbers

    if resource not in RESOURCES:
        raise UsageError(f"RESOURCE {none_of(resource, RESOURCES)}")
    for other in resources:
        if other != resource:
            raise UsageError(f"--resource {other} contradicts {resource}; one resource is exported at a time")
    for period in periods:
        if period not in set(Period):
            raise UsageError(f"--period {none_of(period, [each.value for each in Period])}")
    wanted = [Period(period) for period in dict.fromkeys(periods)] or [Period.DAY]
    return ExportRequest(
        resource, wanted, _parse_range(start, end), tuple(accounts), phone_numbers(phones), incomplete=incomplete
    )


def _parse_range(start: str | None, end: str | None) -> Callable[[date], Range]:
    """Return a function from an account's today to the first and the last day, each None where it is open."""
    from harvester.cli.dates import parse_day, parse_days

    if start is not None and end is not None:
        return parse_days(start, end)
    first = parse_day(start, "--start") if start is not None else None
    last = parse_day(end, "--end") if end is not None else None
    return lambda today: (first and first(today), last and last(today))


def _find_database(invocation: Invocation, db: str | None) -> tuple[DatabaseLocation, Settings | None]:
    """Return the database to read, and the settings unless --db was given."""
    import os

    from harvester.reports.database import configured_location, named_location

    if db is not None:
        return named_location(db, os.environ, cwd=current_directory(), home=home_directory()), None
    settings = load_settings(invocation)
    return configured_location(settings, os.environ), settings


def _export(
    location: DatabaseLocation, settings: Settings | None, request: ExportRequest, kind: str, output: str
) -> int:
    """Write the rows and return their number."""
    import time
    from contextlib import closing

    from harvester.reports.export import render, select

    configured = list(settings.accounts.values()) if settings else []
    with location.open() as reader:
        columns, rows = select(
            reader,
            request,
            time.time(),
            known_accounts=[account.name for account in configured],
            known_phones={phone.number for account in configured for phone in account.phones},
        )
        with closing(rows), closing(render(kind, columns, rows)) as lines:
            line_count = _write(lines, output, location)
    return line_count - (kind == "csv")  # its first line has the names of the columns


def _write(lines: Iterable[str], output: str, location: DatabaseLocation) -> int:
    """Write the lines to a file or to stdout and return their number."""
    import sys
    from pathlib import Path

    from harvester.cli.frame import ended_by_signals
    from harvester.reports.export import replacing, write

    try:
        if output == "-":
            return write(lines, sys.stdout.buffer)
        file = Path(output)
        if location.is_at(file):
            raise UsageError(f"{output} is the database itself: give the export another name")
        with ended_by_signals(), replacing(file) as out:
            return write(lines, out)
    except StoreLost as error:
        result = "what was written is incomplete" if output == "-" else f"{output} was not written"
        raise StoreLost(f"{error.detail}; {result}, run the same command again") from error
    except BrokenPipeError:
        raise  # the reader of stdout has gone, which is no error of the file
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "invalid file name"
        raise UsageError(f"{'stdout' if output == '-' else output} cannot be written: {reason}") from None
