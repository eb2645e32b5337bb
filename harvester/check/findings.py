"""Findings of `check`, and the exit code and error that follow from all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from harvester.errors import ExitCode, HarvesterError, Interrupted, SourceError, describe_error, exit_code


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check: its name, a message, and the error if it failed."""

    name: str
    message: str
    error: Exception | None = None
    skipped: bool = False  # because another check failed

    @property
    def ok(self) -> bool:
        """True if the check was made and passed."""
        return self.error is None and not self.skipped

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that this finding alone would give."""
        error = self.error
        if error is None:
            return ExitCode.OK
        if isinstance(error, SourceError) and error.exit_code is ExitCode.BUG:
            return ExitCode.FAILED_SLICES  # a failed request, not caused by configuration or credentials
        return error.exit_code if isinstance(error, HarvesterError) else ExitCode.BUG


@dataclass(slots=True)
class AccountFindings:
    """Findings about one account. `answer` describes its newest answer, of this process or another one."""

    findings: list[Finding] = field(default_factory=list)
    requests: int = 0
    held_by: str | None = None
    answer: str | None = None
    answered_at: int | None = None  # epoch second
    finished: bool = True


class Findings:
    """Findings so far; `on_finding` is called with each new one."""

    def __init__(self, accounts: Iterable[str], on_finding: Callable[[Finding], None]) -> None:
        self.all: list[Finding] = []
        self.accounts = {name: AccountFindings() for name in accounts}
        self.warnings: list[str] = []
        self.interrupted: Interrupted | None = None
        self._on_finding = on_finding

    @classmethod
    def of(cls, name: str, error: HarvesterError) -> Findings:
        """Return the findings of a check that an error prevented."""
        findings = cls((), on_finding=lambda _: None)
        findings.add_error(name, error)
        return findings

    def add(self, finding: Finding, account: str | None = None) -> None:
        """Add a finding, also to those of an account if it is about one."""
        self.all.append(finding)
        if account is not None:
            self.accounts[account].findings.append(finding)
        self._on_finding(finding)

    def add_error(self, name: str, error: HarvesterError, account: str | None = None) -> None:
        """Add a finding for each line of an error, without a prefix that repeats the name."""
        for line in error.detail.splitlines() or [str(error)]:
            self.add(Finding(name, line.removeprefix(f"{name}: "), error), account)

    def interrupt(self) -> None:
        """Note that a signal interrupted the check."""
        self.interrupted = self.interrupted or Interrupted()

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the process."""
        return exit_code([ExitCode.INTERRUPTED] if self.interrupted else [one.exit_code for one in self.all])

    @property
    def error(self) -> Exception | None:
        """The error that decides the exit code."""
        return self.interrupted or _decisive_error(self.all)

    def as_json(self) -> dict[str, Any]:
        """Return the object that `check --json` prints."""
        return {
            "checks": [{"name": one.name, "ok": one.ok, "message": one.message} for one in self.all],
            "warnings": self.warnings,
            "accounts": [self._account_as_json(name, one) for name, one in self.accounts.items()],
            "error": describe_error(self.error),
        }

    def _account_as_json(self, name: str, account: AccountFindings) -> dict[str, Any]:
        interrupted = None if account.finished else self.interrupted
        error = interrupted or _decisive_error(account.findings)
        return {
            "name": name,
            "exit": ExitCode.INTERRUPTED if interrupted else exit_code(one.exit_code for one in account.findings),
            "error": describe_error(error),
            "requests": account.requests,
            "held_by": account.held_by,
            "answer": account.answer,
            "answered_at": account.answered_at,
        }


def _decisive_error(findings: Iterable[Finding]) -> Exception | None:
    wrong = [one for one in findings if one.error]
    code = exit_code(one.exit_code for one in wrong)
    return next((one.error for one in wrong if one.exit_code == code), None)
