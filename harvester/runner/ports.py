"""What the runner needs of the world, as Protocols: it owns them, the floors above implement them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from harvester.core.model import Batch, FailedSlice, Page, RangeLimits, RowCounts, Slice
    from harvester.events import Event


class Permit(Protocol):
    """Leave to send one request now, used as `with permit:` around all that the request does.

    Inside, one of the methods is called, at most once. Leaving the block ends the request: another may be in flight
    in its place. If neither method was called, or an exception (cancellation too) came first, the request counts as
    sent and its answer as lost. A permit that is not entered is never given back: enter it at once.
    """

    def __enter__(self) -> Self:
        """The request begins."""
        ...

    def __exit__(self, *exc_info: object) -> None:
        """The body was read, or the request failed."""
        ...

    def answered(self, status: int, headers: Mapping[str, str]) -> int:
        """The status line and headers came (names in lower case). Call it before the body is read.

        Returns the server's epoch second at which the request left, at the earliest that it can have been.
        """
        ...

    def unused(self) -> None:
        """Nothing was sent, for certain."""
        ...


class Gate(Protocol):
    """The quota of one account. The one place where a worker waits for it."""

    async def acquire(self) -> Permit:
        """Wait until one request may be sent."""
        ...


class Source(Protocol):
    """The API, as one account sees it."""

    async def ready(self) -> None:
        """Have credentials that are believed good; authenticates where needed.

        Raises:
            CredentialsRefused: the API does not take them.
            Transient: no usable answer came.
        """
        ...

    async def fetch(self, piece: Slice, permit: Permit) -> Page:
        """Ask for one slice. Uses the permit up (`with permit:`), whatever happens, cancellation included.

        Raises:
            SourceUnavailable, Throttled: no usable answer came.
            PayloadError: the body is no answer.
            SliceRejected: refused with a 4xx.
            Unauthorized: 401, the credentials or the phone.
        """
        ...

    async def renew(self, generation: int) -> None:
        """The pair of this generation is believed dead: get another one, once for all who ask.

        Raises:
            CredentialsRefused: there is nothing to renew, or renewing does not help.
        """
        ...


class Store(Protocol):
    """The database, as one account's spender sees it."""

    async def commit(self, batches: Sequence[Batch], failures: Sequence[FailedSlice]) -> RowCounts:
        """Store answers and the state of their slices in one transaction; all or nothing.

        Raises:
            StoreError: nothing of it was stored.
        """
        ...

    async def save_range_limits(self, resource: str, limits: RangeLimits) -> None:
        """Remember how wide a range the server takes."""
        ...


class Observer(Protocol):
    """Is told what happens, as it happens: one event, its facts as fields. Must not raise."""

    def __call__(self, event: Event, /, **facts: object) -> None:
        """Take note."""
        ...
