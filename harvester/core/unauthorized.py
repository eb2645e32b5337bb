"""Whether a 401 is about one phone or about the credentials: decided by what the other phones get.

The API answers 401 for bad credentials, for a pair that died and for a number that is somebody else's. One 401 tells
nothing, so its slice is held until another request tells more:
- another phone passes, asked after that 401: the number is not ours, its slice alone is rejected;
- a second phone gets 401 and none passed in between: the pair is believed dead;
- nobody else is left to ask: a pair that can be renewed is renewed once for that phone; then, or where it cannot be
  renewed, the number is not ours if the credentials ever passed for anybody, else the credentials are refused.
  `proven` says that they did in an earlier run: else a harvest of which only a stranger's slice is left would be
  taken for one with bad credentials.
While a slice is held, only one request is in flight (`one_at_a_time`), so a dead pair costs few.

Invariants (tests/unit/core/test_trust.py): a late 401 for a pair already replaced accuses nobody; a pass that was
asked for before the 401 came acquits nobody.
"""

from __future__ import annotations

from enum import Enum, auto


class UnauthorizedCause(Enum):
    """What a 401 means."""

    OLD_CREDENTIALS = auto()  # a pair that has been replaced since: ask again
    UNKNOWN = auto()  # the slice waits until another request decides
    CREDENTIALS = auto()  # the pair is taken to be dead
    PHONE = auto()  # the number belongs to another account


class UnauthorizedTracker:
    """One account's credentials, as its answers speak of them.

    Args:
        phones: how many phones there are to ask for.
        renewable: whether a new pair can be had.
        proven: whether others were answered before, and what they were answered with can be had anew.
    """

    def __init__(self, phones: int, *, renewable: bool, proven: bool = False) -> None:
        self._enough = 2 if proven else min(2, phones)
        self._renewable = renewable
        self._suspects: dict[str, int] = {}
        self._renewed_for: set[str] = set()
        self._ever_passed = proven
        self._order = 0
        self._replaced = -1

    @property
    def one_at_a_time(self) -> bool:
        """Whether one request at a time is enough until more is known."""
        return bool(self._suspects)

    @property
    def parked_phones(self) -> frozenset[str]:
        """The phones whose slices are held."""
        return frozenset(self._suspects)

    def asked(self) -> int:
        """A request is about to be sent: its place in the order of events."""
        self._order += 1
        return self._order

    def passed(self, order: int, phone: str) -> frozenset[str]:
        """The request of that order, for this phone, was not answered 401: the held phones that are not ours."""
        self._ever_passed = True
        self._renewed_for.discard(phone)  # renewing helped, so it may again
        guilty = frozenset(suspect for suspect, since in self._suspects.items() if since < order)
        for suspect in guilty:
            del self._suspects[suspect]
        return guilty

    def refused(self, phone: str, generation: int) -> UnauthorizedCause:
        """A request for a phone was answered 401 under the pair of this generation."""
        if generation <= self._replaced:
            return UnauthorizedCause.OLD_CREDENTIALS
        self._order += 1
        self._suspects.setdefault(phone, self._order)
        return UnauthorizedCause.CREDENTIALS if len(self._suspects) >= self._enough else UnauthorizedCause.UNKNOWN

    def no_other_phone(self, phone: str) -> UnauthorizedCause:
        """The phone's slice is held, and there is no other phone left to ask for."""
        renew = self._renewable and phone not in self._renewed_for
        if renew or not self._ever_passed:
            return UnauthorizedCause.CREDENTIALS
        self._suspects.pop(phone, None)
        return UnauthorizedCause.PHONE

    def replaced(self, generation: int) -> bool:
        """The pair of this generation was replaced: its refusals count no more. Returns whether that is news."""
        if generation <= self._replaced:
            return False
        self._replaced = generation
        self._renewed_for |= self._suspects.keys()
        self._suspects.clear()
        return True
