"""A Transport that tells how each exchange went: which resource, with what outcome, in how many seconds.

The outcome is the status where an answer came; else the Outage by which it failed, "cancelled" where nobody waited
for it any more, "error" for whatever else. An answer whose body broke off is an outage, for it is no use; where only
its status counts and the body's end is not missed, it is the status. The time runs until the body was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harvester.core.model import RESOURCES
from harvester.errors import Outage, SourceUnavailable

if TYPE_CHECKING:
    from harvester.source.transport import Request, Response, Transport

Observe = Callable[[str, str, float], None]

AUTH = "auth"
OTHER = "other"

_KNOWN = frozenset({*RESOURCES, AUTH})
_BROKEN_OFF = frozenset({Outage.CLOSED, Outage.TIMEOUT})


class InstrumentedTransport:
    """Sends through another transport.

    Args:
        transport: which one.
        base_url: of the API; the next part of the path names the resource.
        observe: is given resource, outcome and seconds after each exchange. Must not raise.
        now: monotonic seconds.
    """

    def __init__(self, transport: Transport, *, base_url: str, observe: Observe, now: Callable[[], float]) -> None:
        self._transport = transport
        self._base = urlsplit(base_url).path.rstrip("/")
        self._observe = observe
        self._now = now

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[Response]:
        """See Transport."""
        began = self._now()
        answered: int | None = None
        outcome = "error"
        try:
            async with self._transport.send(request) as response:
                answered = response.status
                yield response
            outcome = str(answered)
        except BaseException as error:
            outcome = _outcome(error, answered)
            raise
        finally:
            self._observe(self._resource(request.url), outcome, self._now() - began)

    def _resource(self, url: str) -> str:
        part = urlsplit(url).path.removeprefix(self._base).lstrip("/").partition("/")[0]
        return part if part in _KNOWN else OTHER  # a label must not take every value that a URL can


def _outcome(error: BaseException, answered: int | None) -> str:
    if isinstance(error, SourceUnavailable) and (answered is None or error.outage in _BROKEN_OFF):
        return error.outage.value
    if answered is not None and isinstance(error, Exception):  # the caller did not like what the answer said
        return str(answered)
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "error"
