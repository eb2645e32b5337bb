"""Exit code, error and JSON of all findings together."""

from __future__ import annotations

import pytest

from harvester.check.findings import Finding, Findings
from harvester.errors import (
    ConfigError,
    CredentialsRefused,
    HarvesterError,
    PayloadError,
    SliceRejected,
    StoreError,
    Unreachable,
)


def collected(*errors: Exception | None, account: str | None = None) -> Findings:
    findings = Findings(["main", "other"], on_finding=lambda _: None)
    for error in errors:
        findings.add(Finding("one", "found", error), account)
    return findings


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ((None,), 0),
        ((SliceRejected("no"),), 3),
        ((PayloadError("no"), Unreachable("no")), 69),
        ((Unreachable("no"), CredentialsRefused("no")), 77),
        ((CredentialsRefused("no"), ConfigError("no"), None), 78),
        ((ConfigError("no"), StoreError("no")), 74),
        ((StoreError("no"), KeyError("a bug")), 1),
    ],
)
def test_the_first_in_precedence_gives_code_and_error(errors: tuple[Exception | None, ...], code: int) -> None:
    findings = collected(*errors)
    assert findings.exit_code == code
    decisive = max(errors, key=lambda error: error is not None and Finding("", "", error).exit_code == code)
    assert findings.error is decisive


def test_an_interruption_has_precedence_and_marks_the_interrupted_accounts() -> None:
    findings = collected(StoreError("no"), account="main")
    findings.accounts["other"].finished = False
    findings.interrupt()
    assert findings.exit_code == 130
    printed = findings.as_json()
    assert printed["error"]["code"] == "interrupted"
    assert [(one["name"], one["exit"]) for one in printed["accounts"]] == [("main", 74), ("other", 130)]


def test_a_skipped_check_has_neither_passed_nor_failed() -> None:
    findings = collected()
    findings.add(Finding("one", "skipped", skipped=True), "main")
    assert findings.exit_code == 0
    assert findings.as_json()["checks"] == [{"name": "one", "ok": False, "message": "skipped"}]


def test_every_problem_of_an_error_is_a_finding_that_does_not_repeat_its_name() -> None:
    findings = collected()
    findings.add_error("accounts.main.start", ConfigError("accounts.main.start: too early", "elsewhere: wrong"), "main")
    assert [one.message for one in findings.all] == ["too early", "elsewhere: wrong"]
    assert [one["exit"] for one in findings.as_json()["accounts"]] == [78, 0]


def test_an_error_without_detail_has_the_message_of_its_class() -> None:
    findings = Findings.of("database", HarvesterError())
    assert [one.message for one in findings.all] == ["The harvester cannot continue."]
