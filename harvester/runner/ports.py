"""Protocols of what the runner needs: source, quota, store and observer. The packages above implement them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

from harvester.core.model import Batch, FailedSlice, Page, RangeKey, RangeLimits, RowCounts, Slice
from harvester.events import Event


class Permit(Protocol):
    """Permission to send one request, used as `with permit:` around the whole request.

    Call one of the methods inside the block, at most once. Leaving the block ends the request, so that another may be
    in flight in its place. If neither method was called, or an exception (cancellation too) came first, the request
    counts as sent and its answer as lost. Enter a permit at once: one that is never entered is never returned.
    """

    def __enter__(self) -> Self:
        """Begin the request."""
        ...

    def __exit__(self, *exc_info: object) -> None:
        """End the request: the body was read, or the request failed."""
        ...

    def answered(self, status: int, headers: Mapping[str, str]) -> int:
        """Report the status line and headers (names in lower case) before the body is read.

        Returns:
            the earliest epoch second of the server's clock at which the request can have left.
        """
        ...

    def unused(self) -> None:
        """Report that certainly nothing was sent."""
        ...


class Gate(Protocol):
    """The quota of one account. Workers wait for it here and nowhere else."""

    async def acquire(self) -> Permit:
        """Wait until one request may be sent."""
        ...


class Source(Protocol):
    """The API as one account may use it."""

    async def ready(self) -> None:
        """Make sure that there are credentials which have not been refused; authenticate if necessary.

        Raises:
            CredentialsRefused: the API refuses the login.
            Transient: no usable answer came.
        """
        ...

    async def fetch(self, piece: Slice, permit: Permit) -> Page:
        """Request one slice. The permit is used up (`with permit:`) in any case, cancellation included.

        Raises:
            SourceUnavailable: no usable answer came.
            Throttled: the answer was 429.
            PayloadError: the body is unusable.
            SliceRejected: the API refuses the slice.
            Unauthorized: the answer was 401, because of the credentials or of the phone.
        """
        ...

    async def renew(self, generation: int) -> None:
        """Replace the credential pair of this generation, once for all callers.

        Raises:
            CredentialsRefused: the pair cannot be renewed, or the login is refused.
            Transient: no usable answer came.
        """
        ...


class Store(Protocol):
    """The database as the holder of one account uses it."""

    async def commit(self, batches: Sequence[Batch], failures: Sequence[FailedSlice]) -> RowCounts:
        """Store answers and the state of their slices in one transaction, all or nothing.

        Raises:
            StoreError: nothing of it was stored; after StoreLost that is not certain.
        """
        ...

    async def answered(self) -> Sequence[Slice]:
        """Return the newest stored period of each of the account's series, the most recently answered first."""
        ...

    async def save_range_limits(self, key: RangeKey, limits: RangeLimits) -> None:
        """Store which ranges the API accepts for a resource and period."""
        ...


class Observer(Protocol):
    """Receiver of events as they happen, with their facts as keyword arguments. It must not raise."""

    def __call__(self, event: Event, /, **facts: object) -> None:
        """Receive one event."""
        ...
