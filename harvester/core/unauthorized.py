"""Tracker of 401 answers: decides from the answers to other phones whether the phone or the credentials are refused.

The API answers 401 for wrong credentials, for an expired pair, and for a number of another account. A single 401
decides nothing, so its slice is parked until another request does:
- another phone passes that was asked for after that 401: the number is another account's, and its slice is rejected;
- a second phone gets a 401 and none passed in between: the pair is taken to be dead;
- no other phone is left to ask for: a pair that can be renewed is renewed once for that phone. After that, or if the
  pair cannot be renewed, the number belongs to another account if the credentials ever passed for any phone, else the
  credentials are refused. `proven` states that they passed in an earlier run; without it, a plan with nothing left but
  the slice of a foreign number would look like wrong credentials.
While a slice is parked, only one request is in flight (`one_at_a_time`), so that a dead pair costs few.

Invariants (tests/unit/core/test_unauthorized.py): a late 401 for a pair that was replaced decides nothing; neither does
a pass that was asked for before the 401 came.
"""

from enum import Enum, auto


class UnauthorizedCause(Enum):
    """Cause of a 401."""

    OLD_CREDENTIALS = auto()  # a pair that has been replaced since: ask again
    UNKNOWN = auto()  # park the slice until another request decides
    CREDENTIALS = auto()  # the pair is taken to be dead
    PHONE = auto()  # the number belongs to another account


class UnauthorizedTracker:
    """State of one account's credentials, as its answers show it.

    Args:
        phones: number of phones to ask for.
        renewable: a new pair can be obtained.
        proven: other phones passed in an earlier run, with credentials that can be renewed.
    """

    def __init__(self, phones: int, *, renewable: bool, proven: bool = False) -> None:
        self._enough_phones = 2 if proven else min(2, phones)
        self._renewable = renewable
        self._parked: dict[str, int] = {}  # phone -> order of its 401
        self._renewed_for: set[str] = set()
        self._ever_passed = proven
        self._order = 0
        self._replaced = -1  # newest generation of credentials that was replaced

    @property
    def one_at_a_time(self) -> bool:
        """True while a single request at a time has to decide about a 401."""
        return bool(self._parked)

    @property
    def parked_phones(self) -> frozenset[str]:
        """The phones whose slices are parked."""
        return frozenset(self._parked)

    def asked(self) -> int:
        """Record that a request is about to be sent. Return its place in the order of events."""
        self._order += 1
        return self._order

    def passed(self, order: int, phone: str) -> frozenset[str]:
        """Record that the request with this `order` got no 401. Return the parked phones of other accounts."""
        self._ever_passed = True
        self._renewed_for.discard(phone)  # the renewal helped, so it may help again
        foreign = frozenset(parked for parked, since in self._parked.items() if since < order)
        for parked in foreign:
            del self._parked[parked]
        return foreign

    def refused(self, phone: str, generation: int) -> UnauthorizedCause:
        """Record a 401 for `phone` with the pair of this generation, and return its cause."""
        if generation <= self._replaced:
            return UnauthorizedCause.OLD_CREDENTIALS
        self._order += 1
        self._parked.setdefault(phone, self._order)
        enough = len(self._parked) >= self._enough_phones
        return UnauthorizedCause.CREDENTIALS if enough else UnauthorizedCause.UNKNOWN

    def no_other_phone(self, phone: str) -> UnauthorizedCause:
        """Return the cause of the 401 for a parked phone if no other phone is left to ask for."""
        renew = self._renewable and phone not in self._renewed_for
        if renew or not self._ever_passed:
            return UnauthorizedCause.CREDENTIALS
        self._parked.pop(phone, None)
        return UnauthorizedCause.PHONE

    def replaced(self, generation: int) -> bool:
        """Record that the pair of this generation was replaced, and forget its 401s. Return False if that was known."""
        if generation <= self._replaced:
            return False
        self._replaced = generation
        self._renewed_for |= self._parked.keys()
        self._parked.clear()
        return True
