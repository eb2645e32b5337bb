"""`harvester migrate`."""

from __future__ import annotations

import os

import click

from harvester.cli.frame import Invocation, common, load_settings
from harvester.errors import UsageError


@click.command()
@click.option("--sql", is_flag=True, help="Print the statements instead, for psql or sqlite3; touches no database.")
@click.option("--since", metavar="VERSION", help="With --sql: from this version on, as `status` tells it.")
@common
def migrate(invocation: Invocation, *, sql: bool, since: str | None) -> None:
    """Bring the database to the newest schema."""
    from harvester import config
    from harvester.store import migrate as migrations

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
