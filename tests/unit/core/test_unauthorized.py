from __future__ import annotations

from harvester.core.unauthorized import UnauthorizedCause, UnauthorizedTracker


def test_a_phone_is_rejected_once_another_passes_that_was_asked_later() -> None:
    trust = UnauthorizedTracker(3, renewable=True)
    early = trust.asked()
    assert trust.refused("1", 0) is UnauthorizedCause.UNKNOWN
    assert trust.one_at_a_time
    assert trust.passed(early, "2") == frozenset(), "asked before the refusal came"
    assert trust.passed(trust.asked(), "2") == {"1"}
    assert not trust.one_at_a_time


def test_two_phones_and_no_pass_in_between_mean_a_dead_pair() -> None:
    trust = UnauthorizedTracker(3, renewable=False)
    assert trust.refused("1", 0) is UnauthorizedCause.UNKNOWN
    assert trust.refused("1", 0) is UnauthorizedCause.UNKNOWN
    assert trust.refused("2", 0) is UnauthorizedCause.CREDENTIALS


def test_one_phone_is_enough_when_there_is_only_one() -> None:
    assert UnauthorizedTracker(1, renewable=False).refused("1", 0) is UnauthorizedCause.CREDENTIALS


def test_a_late_refusal_of_a_replaced_pair_accuses_nobody() -> None:
    trust = UnauthorizedTracker(2, renewable=True)
    trust.refused("1", 4)
    assert trust.refused("2", 4) is UnauthorizedCause.CREDENTIALS
    trust.replaced(4)
    assert trust.refused("2", 4) is UnauthorizedCause.OLD_CREDENTIALS
    assert not trust.one_at_a_time
    assert trust.refused("2", 5) is UnauthorizedCause.UNKNOWN


def test_with_nobody_else_to_ask_a_pair_is_renewed_once_before_the_phone_is_blamed() -> None:
    trust = UnauthorizedTracker(2, renewable=True)
    trust.passed(trust.asked(), "2")
    assert trust.refused("1", 0) is UnauthorizedCause.UNKNOWN
    assert trust.no_other_phone("1") is UnauthorizedCause.CREDENTIALS
    trust.replaced(0)
    assert trust.refused("1", 1) is UnauthorizedCause.UNKNOWN
    assert trust.no_other_phone("1") is UnauthorizedCause.PHONE
    assert not trust.one_at_a_time


def test_with_nobody_else_to_ask_credentials_that_never_passed_are_to_blame() -> None:
    trust = UnauthorizedTracker(2, renewable=False)
    trust.refused("1", 0)
    assert trust.no_other_phone("1") is UnauthorizedCause.CREDENTIALS
    trust.passed(0, "2")
    assert trust.no_other_phone("1") is UnauthorizedCause.PHONE


def test_a_stranger_left_alone_is_known_where_others_passed_before() -> None:
    trust = UnauthorizedTracker(1, renewable=True, proven=True)
    assert trust.refused("1", 1) is UnauthorizedCause.UNKNOWN
    assert trust.no_other_phone("1") is UnauthorizedCause.CREDENTIALS
    trust.replaced(1)
    assert trust.refused("1", 2) is UnauthorizedCause.UNKNOWN
    assert trust.no_other_phone("1") is UnauthorizedCause.PHONE


def test_a_renewal_that_helped_a_phone_may_help_it_again() -> None:
    trust = UnauthorizedTracker(2, renewable=True)
    for generation in range(3):
        trust.passed(trust.asked(), "1")
        assert trust.refused("1", generation) is UnauthorizedCause.UNKNOWN
        assert trust.no_other_phone("1") is UnauthorizedCause.CREDENTIALS
        assert trust.replaced(generation)
        assert not trust.replaced(generation), "told a second time"
