"""`harvester demo`."""

from __future__ import annotations

import click

from harvester.cli.frame import Invocation, common


@click.command()
@click.option("--db", default="demo.db", show_default=True, metavar="FILE", help="SQLite file to write.")
@common
def demo(invocation: Invocation, *, db: str) -> None:
    """Harvest a simulated year of many phones and print it. Needs no configuration.

    Takes about half a minute. After an interruption, the same command continues.
    """
    import os
    import sys
    from pathlib import Path

    from harvester.demo import run
    from harvester.errors import UsageError

    file = db.removeprefix("sqlite:///")
    if not file or "://" in file:
        raise UsageError(f"--db {db}: the demonstration writes an SQLite file; give its path")
    code = run(Path(file).absolute(), file, verbose=invocation.verbose, quiet=invocation.quiet, environ=os.environ)
    if code:
        sys.exit(code)
