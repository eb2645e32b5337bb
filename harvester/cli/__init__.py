"""Command line: arguments in, exit code out.

Only click is imported here, so that `--help` is instant; every command imports what it needs when it runs.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys

import click

from harvester import __version__
from harvester.cli import streams
from harvester.cli.backfill import backfill
from harvester.cli.check import check
from harvester.cli.demo import demo
from harvester.cli.export import export
from harvester.cli.frame import Invocation, common, exit_with
from harvester.cli.init import init
from harvester.cli.migrate import migrate
from harvester.cli.plan import plan
from harvester.cli.run import run
from harvester.cli.simulate import simulate
from harvester.cli.status import status
from harvester.cli.systemd_unit import systemd_unit
from harvester.errors import ExitCode


class InOrder(click.Group):
    """Group that lists its commands in the order in which a new user needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of their registration."""
        del ctx
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="harvester")
@common
def harvester(invocation: Invocation) -> None:
    """Harvest VoiceTrends figures into SQL, completely and within the API's quota.

    Start with `harvester demo`, which needs no configuration, or with `harvester init`.
    """


for command in (demo, init, check, plan, backfill, run, status, export, migrate, systemd_unit, simulate):
    harvester.add_command(command)


def main() -> None:
    """Run the command that the arguments name, and exit."""
    if os.getpid() == 1:  # in a container the kernel ignores SIGTERM where there is no handler
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    streams.secure()
    atexit.register(gc.freeze)  # without it, Python's last garbage collection takes 150 ms
    try:
        harvester.main(standalone_mode=False, prog_name="harvester")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the outermost handler
        exit_with(error)
