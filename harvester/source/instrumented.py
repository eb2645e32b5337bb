"""Transport that reports each exchange: resource, outcome and duration.

The outcome is the status of the answer; without an answer it is the Outage, "cancelled" if the caller was cancelled,
and "error" for anything else. An answer with a cut body counts as an outage, because it is unusable; unless its reader
needs only the status. The duration ends when the body was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from harvester.core.model import RESOURCES
from harvester.errors import Outage, SourceUnavailable
from harvester.source.transport import Request, Response, Transport

Observe = Callable[[str, str, float], None]

AUTH = "auth"
OTHER = "other"

_KNOWN_RESOURCES = frozenset({*RESOURCES, AUTH})
_OUTAGES_OF_THE_BODY = frozenset({Outage.CLOSED, Outage.TIMEOUT})


class InstrumentedTransport:
    """Wrapper around a transport.

    Args:
        transport: sends the requests.
        base_url: of the API; the next part of the path names the resource.
        observe: called after each exchange with resource, outcome and seconds. Must not raise.
        now: monotonic seconds.
    """

    def __init__(self, transport: Transport, *, base_url: str, observe: Observe, now: Callable[[], float]) -> None:
        self._transport = transport
        self._base_path = urlsplit(base_url).path.rstrip("/")
        self._observe = observe
        self._now = now

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[Response]:
        """See Transport."""
        began_at = self._now()
        status: int | None = None
        outcome = "error"
        try:
            async with self._transport.send(request) as response:
                status = response.status
                yield response
            outcome = str(status)
        except BaseException as error:
            outcome = _outcome(error, status)
            raise
        finally:
            self._observe(self._resource(request.url), outcome, self._now() - began_at)

    def _resource(self, url: str) -> str:
        part = urlsplit(url).path.removeprefix(self._base_path).lstrip("/").partition("/")[0]
        return part if part in _KNOWN_RESOURCES else OTHER  # a metric's label must have few values


def _outcome(error: BaseException, status: int | None) -> str:
    if isinstance(error, SourceUnavailable) and (status is None or error.outage in _OUTAGES_OF_THE_BODY):
        return error.outage.value
    if status is not None and isinstance(error, Exception):  # the reader refused what the answer says
        return str(status)
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "error"
