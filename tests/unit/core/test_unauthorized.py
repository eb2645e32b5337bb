from __future__ import annotations

from harvester.core.unauthorized import UnauthorizedCause, UnauthorizedTracker


def test_a_phone_is_rejected_once_another_passes_that_was_asked_later() -> None:
    tracker = UnauthorizedTracker(3, renewable=True)
    early = tracker.asked()
    assert tracker.refused("1", 0) is UnauthorizedCause.UNKNOWN
    assert tracker.one_at_a_time
    assert tracker.passed(early, "2") == frozenset(), "asked before the refusal came"
    assert tracker.passed(tracker.asked(), "2") == {"1"}
    assert not tracker.one_at_a_time


def test_two_phones_and_no_pass_in_between_mean_dead_credentials() -> None:
    tracker = UnauthorizedTracker(3, renewable=False)
    assert tracker.refused("1", 0) is UnauthorizedCause.UNKNOWN
    assert tracker.refused("1", 0) is UnauthorizedCause.UNKNOWN
    assert tracker.refused("2", 0) is UnauthorizedCause.CREDENTIALS


def test_one_phone_is_enough_when_there_is_only_one() -> None:
    assert UnauthorizedTracker(1, renewable=False).refused("1", 0) is UnauthorizedCause.CREDENTIALS


def test_a_late_401_for_a_replaced_pair_decides_nothing() -> None:
    tracker = UnauthorizedTracker(2, renewable=True)
    tracker.refused("1", 4)
    assert tracker.refused("2", 4) is UnauthorizedCause.CREDENTIALS
    tracker.replaced(4)
    assert tracker.refused("2", 4) is UnauthorizedCause.OLD_CREDENTIALS
    assert not tracker.one_at_a_time
    assert tracker.refused("2", 5) is UnauthorizedCause.UNKNOWN


def test_with_no_other_phone_a_pair_is_renewed_once_before_the_phone_is_rejected() -> None:
    tracker = UnauthorizedTracker(2, renewable=True)
    tracker.passed(tracker.asked(), "2")
    assert tracker.refused("1", 0) is UnauthorizedCause.UNKNOWN
    assert tracker.no_other_phone("1") is UnauthorizedCause.CREDENTIALS
    tracker.replaced(0)
    assert tracker.refused("1", 1) is UnauthorizedCause.UNKNOWN
    assert tracker.no_other_phone("1") is UnauthorizedCause.PHONE
    assert not tracker.one_at_a_time


def test_with_no_other_phone_credentials_that_never_passed_are_the_cause() -> None:
    tracker = UnauthorizedTracker(2, renewable=False)
    tracker.refused("1", 0)
    assert tracker.no_other_phone("1") is UnauthorizedCause.CREDENTIALS
    tracker.passed(0, "2")
    assert tracker.no_other_phone("1") is UnauthorizedCause.PHONE


def test_a_foreign_number_left_alone_is_recognised_if_others_passed_before() -> None:
    tracker = UnauthorizedTracker(1, renewable=True, proven=True)
    assert tracker.refused("1", 1) is UnauthorizedCause.UNKNOWN
    assert tracker.no_other_phone("1") is UnauthorizedCause.CREDENTIALS
    tracker.replaced(1)
    assert tracker.refused("1", 2) is UnauthorizedCause.UNKNOWN
    assert tracker.no_other_phone("1") is UnauthorizedCause.PHONE


def test_a_renewal_that_helped_a_phone_may_help_it_again() -> None:
    tracker = UnauthorizedTracker(2, renewable=True)
    for generation in range(3):
        tracker.passed(tracker.asked(), "1")
        assert tracker.refused("1", generation) is UnauthorizedCause.UNKNOWN
        assert tracker.no_other_phone("1") is UnauthorizedCause.CREDENTIALS
        assert tracker.replaced(generation)
        assert not tracker.replaced(generation), "the same generation twice"
