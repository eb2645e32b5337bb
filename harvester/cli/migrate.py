"""`harvester migrate`."""

from __future__ import annotations

import os

import click

from harvester.cli.frame import Invocation, common, load_settings
from harvester.errors import UsageError


@click.command()
@click.option("--sql", is_flag=True, help="Print the statements for psql or sqlite3; no database is opened.")
@click.option("--since", metavar="VERSION", help="With --sql: the version to start from, as `status` prints it.")
@common
def migrate(invocation: Invocation, *, sql: bool, since: str | None) -> None:
    """Migrate the database to the newest schema."""
    from harvester import config
    from harvester.store import migrate as migrations

    if since and not sql:
        raise UsageError("--since needs --sql: otherwise the version is read from the database")
    settings = load_settings(invocation)
    database = settings.database
    if sql:
        click.echo(migrations.migration_sql(database.url, database.schema, since=since))
        return
    password = config.database_password(settings, os.environ)
    found, reached = migrations.migrate(database.url, database.schema, password)
    if found == reached:
        click.echo(f"{database.safe_url}: already at {reached}")
    else:
        click.echo(f"{database.safe_url}: migrated from {found or 'nothing'} to {reached}")
