"""What `check` found: one thing a line, and what all of it amounts to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from harvester.errors import ExitCode, HarvesterError, Interrupted, SourceError, describe_error, exit_code


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing: its name, in words what was found, and the error if it is wrong."""

    name: str
    message: str
    error: Exception | None = None
    skipped: bool = False  # it was not looked at, because of something else

    @property
    def ok(self) -> bool:
        """Whether it was looked at and found in order."""
        return self.error is None and not self.skipped

    @property
    def exit_code(self) -> ExitCode:
        """What it calls for."""
        error = self.error
        if error is None:
            return ExitCode.OK
        if isinstance(error, SourceError) and error.exit_code is ExitCode.BUG:
            return ExitCode.FAILED_SLICES  # a request that failed, and neither configuration nor credentials to blame
        return error.exit_code if isinstance(error, HarvesterError) else ExitCode.BUG


@dataclass(slots=True)
class AccountFindings:
    """What was learnt of one account. `answer` is the newest one known, whoever got it."""

    findings: list[Finding] = field(default_factory=list)
    requests: int = 0
    held_by: str | None = None
    answer: str | None = None
    answered_at: int | None = None  # epoch second
    finished: bool = True


class Findings:
    """All that was found so far; `show` is told each thing as it is found."""

    def __init__(self, accounts: Iterable[str], show: Callable[[Finding], None]) -> None:
        self.all: list[Finding] = []
        self.accounts = {name: AccountFindings() for name in accounts}
        self.warnings: list[str] = []
        self.interrupted: Interrupted | None = None
        self._show = show

    @classmethod
    def of(cls, name: str, error: HarvesterError) -> Findings:
        """Nothing but an error that came before all else."""
        findings = cls((), show=lambda _: None)
        findings.wrong(name, error)
        return findings

    def add(self, finding: Finding, account: str | None = None) -> None:
        """Take note, of an account if it is about one."""
        self.all.append(finding)
        if account is not None:
            self.accounts[account].findings.append(finding)
        self._show(finding)

    def wrong(self, name: str, error: HarvesterError, account: str | None = None) -> None:
        """Take note of each of an error's problems; a place that the name says already is not said again."""
        for line in error.detail.splitlines() or [str(error)]:
            self.add(Finding(name, line.removeprefix(f"{name}: "), error), account)

    def interrupt(self) -> None:
        """Somebody wants no more of it."""
        self.interrupted = self.interrupted or Interrupted()

    @property
    def exit_code(self) -> ExitCode:
        """The gravest one's."""
        return exit_code([ExitCode.INTERRUPTED] if self.interrupted else [one.exit_code for one in self.all])

    @property
    def error(self) -> Exception | None:
        """What gives the whole its exit code."""
        return self.interrupted or _gravest(self.all)

    def as_json(self) -> dict[str, Any]:
        """What `check --json` prints."""
        return {
            "checks": [{"name": one.name, "ok": one.ok, "message": one.message} for one in self.all],
            "warnings": self.warnings,
            "accounts": [self._account_as_json(name, one) for name, one in self.accounts.items()],
            "error": describe_error(self.error),
        }

    def _account_as_json(self, name: str, account: AccountFindings) -> dict[str, Any]:
        cut_off = None if account.finished else self.interrupted
        error = cut_off or _gravest(account.findings)
        return {
            "name": name,
            "exit": ExitCode.INTERRUPTED if cut_off else exit_code(one.exit_code for one in account.findings),
            "error": describe_error(error),
            "requests": account.requests,
            "held_by": account.held_by,
            "answer": account.answer,
            "answered_at": account.answered_at,
        }


def _gravest(findings: Iterable[Finding]) -> Exception | None:
    wrong = [one for one in findings if one.error]
    code = exit_code(one.exit_code for one in wrong)
    return next((one.error for one in wrong if one.exit_code == code), None)
