"""Slices that were answered before, to be asked for once more as a control.

A failure of one slice says nothing about the account. Before the account is paused, or the API counts as unreachable,
because of slices that may have a fault of their own, something that was answered before is asked for. If it is answered
again, the fault is the slice's. The answer to a control is not stored.

The newest period of each resource and phone is remembered: of this run, and of earlier ones once `load` was called.
"""

from collections.abc import Callable, Iterable

from harvester.core.model import Slice

MOST_TRIES = 3  # controls in one check that decide nothing: refused for another reason, or failed

Target = tuple[str, str]
"""Resource and phone."""


def target_of(piece: Slice) -> Target:
    """Return the resource and the phone of a slice."""
    return piece.series.resource, piece.series.phone


class Controls:
    """The answered slices of one account, and the state of the present check."""

    def __init__(self) -> None:
        self.loaded = False  # the store was asked for what earlier runs were answered
        self._slices: dict[Target, Slice] = {}  # most recently answered last
        self._failed: set[Target] = set()  # in this check

    @property
    def targets(self) -> frozenset[Target]:
        """The resources and phones that were ever answered."""
        return frozenset(self._slices)

    def answered(self, piece: Slice) -> None:
        """Record that a slice, one period of it at least, was answered."""
        self._slices.pop(target_of(piece), None)
        self._slices[target_of(piece)] = piece
        self._failed.clear()

    def load(self, pieces: Iterable[Slice]) -> None:
        """Record what earlier runs were answered, the most recently answered first."""
        self.loaded = True
        of_this_run = self._slices
        self._slices = {target_of(piece): piece for piece in reversed(list(pieces))}
        for target, piece in of_this_run.items():
            self._slices.pop(target, None)
            self._slices[target] = piece

    def failed(self, piece: Slice) -> None:
        """Record that a control decided nothing."""
        self._failed.add(target_of(piece))

    def forget_failures(self) -> None:
        """Begin a new check."""
        self._failed.clear()

    def choose(self, suitable: Callable[[Target], bool]) -> Slice | None:
        """Return the most recently answered slice that is suitable and untried; None if none is left."""
        if len(self._failed) >= MOST_TRIES:
            return None
        found = (target for target in reversed(self._slices) if target not in self._failed and suitable(target))
        target = next(found, None)
        return None if target is None else self._slices[target]
