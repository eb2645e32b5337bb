"""`harvester check`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from harvester.cli.frame import Invocation, common, emit_json, json_option, load_settings, print_error, warn
from harvester.errors import ConfigError

if TYPE_CHECKING:
    from harvester.check.findings import Finding, Findings


@click.command(short_help="Check configuration, credentials and database.")
@click.option("--online", is_flag=True, help="Also authenticate and make one request per account.")
@json_option
@common
def check(invocation: Invocation, *, online: bool, as_json: bool) -> None:
    """Check configuration, passwords and database.

    With --online, also check that the API accepts the credentials, and report the time zone and week start that its
    answer fits.
    """
    from harvester.check import run as checking
    from harvester.check.findings import Findings

    try:
        # Quiet: other commands warn about readable secrets, here they are failed checks.
        settings = load_settings(Invocation(config=invocation.config, quiet=1))
    except ConfigError as error:
        if as_json:
            emit_json(Findings.of("configuration", error).as_json())
        raise
    findings = Findings(settings.accounts, on_finding=lambda finding: None if as_json else _print(finding, invocation))
    work = checking.Check(
        settings,
        os.environ,
        findings,
        notice=lambda line: None if invocation.quiet else click.echo(line, err=True),
        detail=lambda line: click.echo(line, err=True) if invocation.verbose else None,
    )

    def exit_at_once() -> NoReturn:
        _conclude(findings, invocation, as_json=as_json)
        sys.stdout.flush()
        os._exit(findings.exit_code)

    checking.run(work, online=online, on_second_interrupt=exit_at_once)
    _conclude(findings, invocation, as_json=as_json)
    sys.exit(findings.exit_code)


def _print(finding: Finding, invocation: Invocation) -> None:
    if finding.error is None and invocation.quiet:
        return
    mark = "FAIL" if finding.error else "--" if finding.skipped else "ok"
    click.echo(f"{mark:<4}  {finding.name}  {finding.message}")


def _conclude(findings: Findings, invocation: Invocation, *, as_json: bool) -> None:
    warn(findings.warnings, invocation)
    if as_json:
        emit_json(findings.as_json())
        if findings.error is not None:
            print_error(findings.error)
        return
    for finding in findings.all:
        if finding.exit_code == 1 and finding.error is not None:
            print_error(finding.error)  # a bug, with its traceback
    if findings.interrupted:
        print_error(findings.interrupted)
    elif findings.exit_code:
        wrong = sum(1 for finding in findings.all if finding.error)
        click.echo(f"harvester: {wrong} of {len(findings.all)} checks failed", err=True)
