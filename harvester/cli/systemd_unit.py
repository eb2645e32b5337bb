"""`harvester systemd-unit`: print the service unit, filled in for this installation."""

from __future__ import annotations

import click

from harvester.cli.frame import Invocation, common, warn

_CONFIG = "/etc/harvester/config.toml"


@click.command("systemd-unit", short_help="Print the systemd unit.")
@click.option("--user", default="harvester", metavar="NAME", show_default=True, help="User that the service runs as.")
@common
def systemd_unit(invocation: Invocation, *, user: str) -> None:
    """Print a systemd unit for `harvester run`; save it as /etc/systemd/system/harvester.service.

    The unit uses the configuration given with --config, else /etc/harvester/config.toml.
    """
    from pathlib import Path

    from harvester.daemon.systemd_unit import hidden_paths, installed_command, unit

    config = Path(invocation.config or _CONFIG).absolute()
    program = installed_command()
    text = unit(user=user, program=program, config=config)
    warn(hidden_paths(program, config), invocation)
    click.echo(text, nl=False)
