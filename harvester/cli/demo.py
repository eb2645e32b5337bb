"""`harvester demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harvester.cli.frame import common

if TYPE_CHECKING:
    from harvester.cli.frame import Invocation


@click.command()
@click.option("--db", default="demo.db", show_default=True, metavar="FILE", help="Where to keep the harvest.")
@common
def demo(invocation: Invocation, *, db: str) -> None:
    """Harvest a simulated year of many phones, and show it. Needs no configuration.

    Takes about half a minute. The same command again goes on where this one stopped.
    """
    import os  # noqa: PLC0415 - imports wait until the command runs
    import sys  # noqa: PLC0415 - as above
    from pathlib import Path  # noqa: PLC0415 - as above

    from harvester.app.demo import run  # noqa: PLC0415 - as above
    from harvester.errors import UsageError  # noqa: PLC0415 - as above

    file = db.removeprefix("sqlite:///")
    if not file or "://" in file:
        raise UsageError(f"--db {db}: the demonstration writes an SQLite file; give its path")
    code = run(Path(file).absolute(), file, verbose=invocation.verbose, quiet=invocation.quiet, environ=os.environ)
    if code:
        sys.exit(code)
