from __future__ import annotations

from harvester.core.controls import Target
from harvester.core.unauthorized import UnauthorizedCause, UnauthorizedTracker

NOTHING: frozenset[Target] = frozenset()


def of(*phones: str) -> frozenset[Target]:
    return frozenset(("performance", phone) for phone in phones)


def refuse(
    tracker: UnauthorizedTracker, phone: str, generation: int = 0, answered: frozenset[Target] = NOTHING
) -> UnauthorizedCause:
    return tracker.refused(("performance", phone), generation, answered)


def test_a_phone_is_rejected_once_another_passes_that_was_asked_later() -> None:
    tracker = UnauthorizedTracker()
    early = tracker.asked()
    assert refuse(tracker, "1") is UnauthorizedCause.UNKNOWN
    assert tracker.one_at_a_time
    assert tracker.passed(early) == frozenset(), "asked before the refusal came"
    assert tracker.passed(tracker.asked()) == {"1"}
    assert not tracker.one_at_a_time


def test_two_phones_and_nothing_that_was_ever_answered_mean_dead_credentials() -> None:
    tracker = UnauthorizedTracker()
    assert refuse(tracker, "1") is UnauthorizedCause.UNKNOWN
    assert not tracker.undecided
    assert refuse(tracker, "1") is UnauthorizedCause.UNKNOWN
    assert not tracker.undecided
    assert refuse(tracker, "2") is UnauthorizedCause.UNKNOWN
    assert tracker.undecided
    assert tracker.decide(NOTHING) is UnauthorizedCause.CREDENTIALS


def test_two_phones_that_were_answered_before_mean_dead_credentials_at_once() -> None:
    tracker = UnauthorizedTracker()
    assert refuse(tracker, "1", answered=of("1", "2", "3")) is UnauthorizedCause.UNKNOWN
    assert refuse(tracker, "2", answered=of("1", "2", "3")) is UnauthorizedCause.CREDENTIALS


def test_numbers_that_were_never_answered_are_no_evidence_against_credentials_that_were_accepted() -> None:
    tracker = UnauthorizedTracker()
    for phone in ("7", "8", "9"):
        assert refuse(tracker, phone, answered=of("1", "2")) is UnauthorizedCause.UNKNOWN
    assert tracker.decide(of("1", "2")) is UnauthorizedCause.UNKNOWN
    assert refuse(tracker, "1", answered=of("1", "2")) is UnauthorizedCause.UNKNOWN
    assert tracker.decide(of("1", "2")) is UnauthorizedCause.UNKNOWN, "that number may have moved"
    assert refuse(tracker, "2", answered=of("1", "2")) is UnauthorizedCause.CREDENTIALS


def test_the_only_number_that_was_ever_answered_is_evidence_enough() -> None:
    tracker = UnauthorizedTracker()
    refuse(tracker, "1")
    assert tracker.decide(of("1")) is UnauthorizedCause.CREDENTIALS


def test_without_a_control_that_decides_the_number_is_to_blame_unless_one_was_refused() -> None:
    tracker = UnauthorizedTracker()
    refuse(tracker, "9")
    assert tracker.decide_without_control(of("1", "2")) is UnauthorizedCause.PHONE
    refuse(tracker, "1", answered=of("1", "2"))
    assert tracker.decide_without_control(of("1", "2")) is UnauthorizedCause.CREDENTIALS
    assert tracker.release() == {"1", "9"}
    assert not tracker.one_at_a_time


def test_a_late_401_for_a_replaced_pair_decides_nothing() -> None:
    tracker = UnauthorizedTracker()
    refuse(tracker, "1", 4)
    refuse(tracker, "2", 4)
    assert tracker.replaced(4)
    assert not tracker.replaced(4), "the same generation twice"
    assert refuse(tracker, "2", 4) is UnauthorizedCause.OLD_CREDENTIALS
    assert not tracker.parked_phones
    assert tracker.one_at_a_time, "until the new pair is accepted"
    tracker.passed(tracker.asked())
    assert not tracker.one_at_a_time
    assert refuse(tracker, "2", 5) is UnauthorizedCause.UNKNOWN
