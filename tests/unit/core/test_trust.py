from __future__ import annotations

from harvester.core.trust import Judgement, Trust


def test_a_phone_is_rejected_once_another_passes_that_was_asked_later() -> None:
    trust = Trust(3, renewable=True)
    early = trust.asked()
    assert trust.refused("1", 0) is Judgement.HOLD
    assert trust.cautious
    assert trust.passed(early, "2") == frozenset(), "asked before the refusal came"
    assert trust.passed(trust.asked(), "2") == {"1"}
    assert not trust.cautious


def test_two_phones_and_no_pass_in_between_mean_a_dead_pair() -> None:
    trust = Trust(3, renewable=False)
    assert trust.refused("1", 0) is Judgement.HOLD
    assert trust.refused("1", 0) is Judgement.HOLD
    assert trust.refused("2", 0) is Judgement.DEAD


def test_one_phone_is_enough_when_there_is_only_one() -> None:
    assert Trust(1, renewable=False).refused("1", 0) is Judgement.DEAD


def test_a_late_refusal_of_a_replaced_pair_accuses_nobody() -> None:
    trust = Trust(2, renewable=True)
    trust.refused("1", 4)
    assert trust.refused("2", 4) is Judgement.DEAD
    trust.replaced(4)
    assert trust.refused("2", 4) is Judgement.AGAIN
    assert not trust.cautious
    assert trust.refused("2", 5) is Judgement.HOLD


def test_with_nobody_else_to_ask_a_pair_is_renewed_once_before_the_phone_is_blamed() -> None:
    trust = Trust(2, renewable=True)
    trust.passed(trust.asked(), "2")
    assert trust.refused("1", 0) is Judgement.HOLD
    assert trust.nobody_else("1") is Judgement.DEAD
    trust.replaced(0)
    assert trust.refused("1", 1) is Judgement.HOLD
    assert trust.nobody_else("1") is Judgement.NOT_OURS
    assert not trust.cautious


def test_with_nobody_else_to_ask_credentials_that_never_passed_are_to_blame() -> None:
    trust = Trust(2, renewable=False)
    trust.refused("1", 0)
    assert trust.nobody_else("1") is Judgement.DEAD
    trust.passed(0, "2")
    assert trust.nobody_else("1") is Judgement.NOT_OURS


def test_a_stranger_left_alone_is_known_where_others_passed_before() -> None:
    trust = Trust(1, renewable=True, proven=True)
    assert trust.refused("1", 1) is Judgement.HOLD
    assert trust.nobody_else("1") is Judgement.DEAD
    trust.replaced(1)
    assert trust.refused("1", 2) is Judgement.HOLD
    assert trust.nobody_else("1") is Judgement.NOT_OURS


def test_a_renewal_that_helped_a_phone_may_help_it_again() -> None:
    trust = Trust(2, renewable=True)
    for generation in range(3):
        trust.passed(trust.asked(), "1")
        assert trust.refused("1", generation) is Judgement.HOLD
        assert trust.nobody_else("1") is Judgement.DEAD
        assert trust.replaced(generation)
        assert not trust.replaced(generation), "told a second time"
