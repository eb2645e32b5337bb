"""`harvester check`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from harvester.cli.frame import Invocation, common, complain, emit_json, json_option, load_settings, warn
from harvester.errors import ConfigError

if TYPE_CHECKING:
    from harvester.check.findings import Finding, Findings


@click.command(short_help="See whether all is fit for a harvest.")
@click.option("--online", is_flag=True, help="Authenticate, and make one request per account.")
@json_option
@common
def check(invocation: Invocation, *, online: bool, as_json: bool) -> None:
    """See whether configuration, secrets and database are fit for a harvest.

    With --online also whether the API takes the credentials, and which zone and week its answer fits.
    """
    from harvester.check import run as checking
    from harvester.check.findings import Findings

    try:
        # Quietly: what other commands warn of is an error here.
        settings = load_settings(Invocation(config=invocation.config, quiet=1))
    except ConfigError as error:
        if as_json:
            emit_json(Findings.of("configuration", error).as_json())
        raise
    findings = Findings(settings.accounts, on_finding=lambda finding: None if as_json else _show(finding, invocation))
    work = checking.Check(
        settings,
        os.environ,
        findings,
        notice=lambda line: None if invocation.quiet else click.echo(line, err=True),
        detail=lambda line: click.echo(line, err=True) if invocation.verbose else None,
    )

    def leave_at_once() -> NoReturn:
        _conclude(findings, invocation, as_json=as_json)
        sys.stdout.flush()
        os._exit(findings.exit_code)

    checking.run(work, online=online, on_second_interrupt=leave_at_once)
    _conclude(findings, invocation, as_json=as_json)
    sys.exit(findings.exit_code)


def _show(finding: Finding, invocation: Invocation) -> None:
    if finding.error is None and invocation.quiet:
        return
    mark = "FAIL" if finding.error else "--" if finding.skipped else "ok"
    click.echo(f"{mark:<4}  {finding.name}  {finding.message}")


def _conclude(findings: Findings, invocation: Invocation, *, as_json: bool) -> None:
    warn(findings.warnings, invocation)
    if as_json:
        emit_json(findings.as_json())
        if findings.error is not None:
            complain(findings.error)
        return
    for finding in findings.all:
        if finding.exit_code == 1 and finding.error is not None:
            complain(finding.error)  # a bug, with its traceback
    if findings.interrupted:
        complain(findings.interrupted)
    elif findings.exit_code:
        wrong = sum(1 for finding in findings.all if finding.error)
        click.echo(f"harvester: {wrong} of {len(findings.all)} checks failed", err=True)
