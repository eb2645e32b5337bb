"""`harvester migrate`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from harvester.cli.frame import common, load_settings
from harvester.errors import UsageError

if TYPE_CHECKING:
    from harvester.cli.frame import Invocation


@click.command()
@click.option("--sql", is_flag=True, help="Print the statements instead, for psql or sqlite3; touches no database.")
@click.option("--since", metavar="VERSION", help="With --sql: from this version on, as `status` tells it.")
@common
def migrate(invocation: Invocation, *, sql: bool, since: str | None) -> None:
    """Bring the database to the newest schema."""
    from harvester import config  # noqa: PLC0415 - imports wait until the command runs
    from harvester.store import migrate as migrations  # noqa: PLC0415 - as above

    if since and not sql:
        raise UsageError("--since goes with --sql: otherwise the database itself tells its version")
    settings = load_settings(invocation)
    database = settings.database
    if sql:
        click.echo(migrations.migration_sql(database.url, database.schema, since=since))
        return
    password = config.database_password(settings, os.environ)
    found, reached = migrations.migrate(database.url, database.schema, password)
    if found == reached:
        click.echo(f"{database.safe_url}: at {reached} already")
    else:
        click.echo(f"{database.safe_url}: migrated from {found or 'nothing'} to {reached}")
