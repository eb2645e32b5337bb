"""The API as one account may use it: takes a slice, returns its Page or raises the error that the answer means.

The permit is held from before the request until the body is read. A request that certainly was not sent returns it
unused. The status decides before the body: a 500 with a cut body is a 500.
"""

from __future__ import annotations

from urllib.parse import quote

from harvester.core.metric_catalogue import known_metrics
from harvester.core.model import Page, Slice
from harvester.errors import Outage, PayloadError, SourceUnavailable
from harvester.failpoints import Step, step
from harvester.parsing.payload import parse_metrics
from harvester.redaction import Redactor
from harvester.runner.ports import Permit
from harvester.source.body import accept_headers, read_answer
from harvester.source.credentials import CredentialPair, Credentials
from harvester.source.responses import error_of, redact_metrics
from harvester.source.transport import Request, Transport


class HttpSource:
    """Implementation of runner.ports.Source.

    Args:
        transport: sends the requests.
        credentials: of the account.
        base_url: of the API.
        body_format: json or xml.
        method: GET or POST, of the data requests.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        *,
        base_url: str,
        body_format: str = "json",
        method: str = "GET",
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._base_url = base_url.rstrip("/")
        self._body_format = body_format
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
                    status, body, headers = response.status, await read_answer(response), response.headers
            except SourceUnavailable as error:
                if error.outage is Outage.CONNECT:
                    permit.unused()
                raise
        redactor = self._credentials.redactor
        refusal = error_of(
            status, body, headers=headers, phone=piece.series.phone, generation=pair.generation, redactor=redactor
        )
        if refusal is not None:
            raise refusal
        page = _page(piece, body, sent_at, redactor)
        self._credentials.accepted(pair.generation)
        return page

    def _request(self, piece: Slice, pair: CredentialPair) -> Request:
        series = piece.series
        resource, phone = quote(series.resource, safe=""), quote(series.phone, safe="")
        first, last = (day.isoformat().replace("-", "") for day in (piece.first, piece.last))
        headers = accept_headers(self._body_format) | {"Authorization": pair.authorization}
        url = f"{self._base_url}/{resource}/{first}/{last}/{series.period.value}/{phone}"
        return Request(self._method, url, headers)


@step(Step.PARSE)
def _page(piece: Slice, body: bytes, sent_at: int, redactor: Redactor) -> Page:
    try:
        metrics = parse_metrics(body)
    except PayloadError as unusable:
        raise PayloadError(redactor.redact(unusable.detail)) from None
    known = known_metrics(piece.series.resource)
    return Page(piece, sent_at, redact_metrics(metrics, known, redactor))
