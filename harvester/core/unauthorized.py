"""Tracker of 401 answers: decides from the answers to other requests if the number or the credentials are refused.

The API answers 401 for wrong credentials, for an expired pair, and for a number of another account. A single 401
decides nothing, so its slice is parked until another request does:
- another phone passes that was asked for after that 401: the number is another account's, and its slice is rejected;
- two targets (resource and phone) that were answered before get a 401: the pair is dead;
- a second phone gets a 401, or no other phone is left to ask for: then something that was answered before, by this run
  or an earlier one, is asked for as a control (core.controls). If nothing ever was, the pair is taken to be dead.
A number that was never answered is therefore no evidence against credentials that were accepted for another one.
While a slice is parked, and until a pair that replaced another one is accepted, only one request is in flight
(`one_at_a_time`), so that a dead pair costs few.

Invariants (tests/unit/core/test_unauthorized.py): a late 401 for a pair that was replaced decides nothing; neither does
a pass that was asked for before the 401 came.
"""

from collections.abc import Set as AbstractSet
from enum import Enum, auto

from harvester.core.controls import Target

ENOUGH_PHONES = 2  # parked, after which no further phone is asked for without a decision
ENOUGH_TARGETS = 2  # answered before and refused now, after which the pair is dead


class UnauthorizedCause(Enum):
    """Cause of a 401."""

    OLD_CREDENTIALS = auto()  # a pair that has been replaced since: ask again
    UNKNOWN = auto()  # park the slice until another request decides
    CREDENTIALS = auto()  # the pair is taken to be dead
    PHONE = auto()  # the number belongs to another account


class UnauthorizedTracker:
    """State of one account's credentials, as its answers show it."""

    def __init__(self) -> None:
        self._parked: dict[str, int] = {}  # phone -> order of its 401
        self._refused: set[Target] = set()  # with the present pair, and not decided yet
        self._order = 0
        self._untried = False  # the present pair has replaced another one, and was not accepted yet
        self._replaced = -1  # newest generation of credentials that was replaced

    @property
    def one_at_a_time(self) -> bool:
        """True while a single request at a time has to decide about a 401, or to try a pair that replaced another."""
        return bool(self._parked) or self._untried

    @property
    def undecided(self) -> bool:
        """True if enough phones are parked to decide before another one is asked for."""
        return len(self._parked) >= ENOUGH_PHONES

    @property
    def parked_phones(self) -> frozenset[str]:
        """The phones whose slices are parked."""
        return frozenset(self._parked)

    def asked(self) -> int:
        """Record that a request is about to be sent. Return its place in the order of events."""
        self._order += 1
        return self._order

    def passed(self, order: int) -> frozenset[str]:
        """Record that the request with this `order` got no 401. Return the parked phones of other accounts."""
        self._untried = False
        foreign = frozenset(parked for parked, since in self._parked.items() if since < order)
        for parked in foreign:
            del self._parked[parked]
        self._refused = {target for target in self._refused if target[1] in self._parked}
        return foreign

    def refused(self, target: Target, generation: int, answered: AbstractSet[Target]) -> UnauthorizedCause:
        """Record a 401 for `target` with the pair of this generation, and return its cause.

        Args:
            target: resource and phone.
            generation: of the credentials.
            answered: targets that were answered before, as far as known.
        """
        if generation <= self._replaced:
            return UnauthorizedCause.OLD_CREDENTIALS
        self._order += 1
        self._parked.setdefault(target[1], self._order)
        self._refused.add(target)
        enough = len(self._refused & answered) >= ENOUGH_TARGETS
        return UnauthorizedCause.CREDENTIALS if enough else UnauthorizedCause.UNKNOWN

    def decide(self, answered: AbstractSet[Target]) -> UnauthorizedCause:
        """Return the cause of the 401s; UNKNOWN if a control has to decide.

        Args:
            answered: all targets that were ever answered.
        """
        refused = self._refused & answered
        dead = len(refused) >= min(ENOUGH_TARGETS, len(answered))
        return UnauthorizedCause.CREDENTIALS if dead else UnauthorizedCause.UNKNOWN

    def decide_without_control(self, answered: AbstractSet[Target]) -> UnauthorizedCause:
        """Return the cause if every control failed for another reason than a 401."""
        return UnauthorizedCause.CREDENTIALS if self._refused & answered else UnauthorizedCause.PHONE

    def may_be_control(self, target: Target) -> bool:
        """Return True if the target was not refused."""
        return target not in self._refused

    def release(self) -> frozenset[str]:
        """Forget the parked phones, and return them."""
        parked = self.parked_phones
        self._parked.clear()
        self._refused.clear()
        return parked

    def replaced(self, generation: int) -> bool:
        """Record that the pair of this generation was replaced, and forget its 401s. Return False if that was known."""
        if generation <= self._replaced:
            return False
        self._replaced = generation
        self._untried = True
        self._parked.clear()
        self._refused.clear()
        return True
