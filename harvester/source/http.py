"""One account's view of the API over any transport: a slice in, a Page or an error out.

The permit is held from before the request until the body is read. A request that certainly never left gives it back.
The answer's status decides before its body: a 500 whose body breaks off is a 500.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from harvester.core.metric_catalogue import known_metrics
from harvester.core.model import Page, Slice
from harvester.core.payload import parse_metrics
from harvester.errors import Outage, PayloadError, SourceUnavailable
from harvester.failpoints import Step, step
from harvester.source.body import accepting, read_answer
from harvester.source.responses import redacted, refusal
from harvester.source.transport import Request, Transport

if TYPE_CHECKING:
    from harvester.redaction import Redactor
    from harvester.runner.ports import Permit
    from harvester.source.credentials import Credentials, Pair


class HttpSource:
    """Implements the runner's Source."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        *,
        base_url: str,
        accept: str = "json",
        method: str = "GET",
    ) -> None:
        """Ask at `base_url` with `method` (GET or POST) for bodies in `accept` (json or xml)."""
        self._transport = transport
        self._credentials = credentials
        self._base_url = base_url.rstrip("/")
        self._accept = accept
        self._method = method

    async def ready(self) -> None:
        """See runner.ports.Source."""
        await self._credentials.ready()

    async def renew(self, generation: int) -> None:
        """See runner.ports.Source."""
        await self._credentials.renew(generation)

    async def fetch(self, piece: Slice, permit: Permit) -> Page:
        """See runner.ports.Source."""
        with permit:
            pair = self._credentials.current()
            if pair is None:
                permit.unused()
                raise RuntimeError("fetch before ready")
            try:
                async with self._transport.send(self._request(piece, pair)) as response:
                    sent_at = permit.answered(response.status, response.headers)
                    status, body = response.status, await read_answer(response)
            except SourceUnavailable as error:
                if error.outage is Outage.CONNECT:
                    permit.unused()
                raise
        page = _page(piece, status, body, sent_at, pair.generation, self._credentials.redactor)
        self._credentials.accepted(pair.generation)
        return page

    def _request(self, piece: Slice, pair: Pair) -> Request:
        series = piece.series
        resource, phone = quote(series.resource, safe=""), quote(series.phone, safe="")
        first, last = (day.isoformat().replace("-", "") for day in (piece.first, piece.last))
        headers = accepting(self._accept) | {"Authorization": pair.authorization}
        url = f"{self._base_url}/{resource}/{first}/{last}/{series.period.value}/{phone}"
        return Request(self._method, url, headers)


@step(Step.PARSE)
def _page(piece: Slice, status: int, body: bytes, sent_at: int, generation: int, redactor: Redactor) -> Page:
    refused = refusal(status, body, phone=piece.series.phone, generation=generation, redactor=redactor)
    if refused is not None:
        raise refused
    try:
        metrics = parse_metrics(body)
    except PayloadError as error:
        raise PayloadError(redactor.redact(error.detail)) from None
    known = known_metrics(piece.series.resource)
    return Page(piece, sent_at, redacted(metrics, known, redactor))
