from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import (
    PRECEDENCE,
    ConfigError,
    ExitCode,
    HarvesterError,
    Interrupted,
    StoreLost,
    Unreachable,
    UsageError,
    describe_error,
    exit_code,
)

CODES = st.lists(st.sampled_from(PRECEDENCE))


def subclasses(kind: type[HarvesterError]) -> Iterator[type[HarvesterError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from subclasses(each)


ERRORS = sorted(set(subclasses(HarvesterError)), key=lambda kind: kind.__name__)


def test_the_precedence_is_that_of_the_documentation() -> None:
    assert [code.value for code in PRECEDENCE] == [130, 1, 74, 78, 77, 69, 75, 3, 0]
    assert len(set(PRECEDENCE)) == len(PRECEDENCE)
    assert set(ExitCode) - set(PRECEDENCE) == {ExitCode.USAGE}


@given(CODES, CODES)
def test_the_exit_code_is_the_first_of_the_precedence(some: list[ExitCode], others: list[ExitCode]) -> None:
    found = exit_code([*some, *others])
    assert found in {*some, *others, ExitCode.OK}
    assert all(PRECEDENCE.index(found) <= PRECEDENCE.index(code) for code in (*some, *others))
    assert found == exit_code([*others, *some]) == exit_code([exit_code(some), exit_code(others)])


def test_without_accounts_all_is_well() -> None:
    assert exit_code([]) is ExitCode.OK


def test_a_usage_error_is_no_account_s() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        exit_code([ExitCode.OK, ExitCode.USAGE])


@pytest.mark.parametrize("kind", ERRORS)
def test_every_message_is_one_plain_sentence(kind: type[HarvesterError]) -> None:
    message = (kind.__doc__ or "").partition("\n")[0]
    assert message[0].isupper()
    assert message.endswith(".")
    assert kind is HarvesterError or kind.__doc__ is not HarvesterError.__doc__


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_of_its_own_exit_code_has_a_word_of_its_own(kind: type[HarvesterError]) -> None:
    same_word = [other for other in ERRORS if other.code == kind.code]
    assert {other.exit_code for other in same_word} == {kind.exit_code}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Unreachable(), "The API cannot be reached."),
        (Unreachable("cannot connect"), "The API cannot be reached: cannot connect"),
        (StoreLost("db: server closed"), "The connection to the database was lost: db: server closed"),
        (UsageError("--start: no date"), "--start: no date"),
        (ConfigError("a: wrong", "b: wrong"), "a: wrong\nb: wrong"),
    ],
)
def test_a_message_ends_with_the_case_at_hand(error: HarvesterError, text: str) -> None:
    assert str(error) == text
    assert describe_error(error) == {"code": error.code, "message": text}


def test_an_interrupted_run_says_how_to_continue() -> None:
    assert str(Interrupted()).endswith("Run the same command again to continue.")


def test_an_unexpected_error_is_described_as_a_bug() -> None:
    assert describe_error(KeyError("x")) == {"code": "bug", "message": "KeyError: 'x'"}
    assert describe_error(None) is None
