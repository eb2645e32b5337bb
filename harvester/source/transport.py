"""HTTP transport: sends a request and returns the status, the headers and the body in chunks.

A simulation implements `Transport` in process, `AiohttpTransport` over sockets. Errors of aiohttp and of the operating
system become SourceUnavailable here, with a text of our own and without a cause: a library's exception may contain a
header, and so a secret.

Outage.CONNECT guarantees that no byte of the request was sent, so that the caller may return its permit unused. If
anything may have been sent, it is another outage.

One call of `send` sends at most one request. aiohttp repeats an idempotent request by itself if an idle connection
turns out to be closed, and the quota would not count that request. It does so only for its own exceptions, so a
middleware translates them before aiohttp sees them; the caller repeats the request, and counts it. Idle connections are
closed before the five seconds after which common servers close them, so this is rare.

Redirects are not followed, cookies are not stored, proxies and netrc are not read from the environment. The body is not
decoded (see body.py). The total timeout includes the whole body, so a body that arrives too slowly fails as well.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol, Self

import aiohttp
from yarl import URL

from harvester import __version__
from harvester.errors import ConfigError, Outage, SourceUnavailable
from harvester.failpoints import Step, step

CONNECT_TIMEOUT = 10.0  # seconds for name, TCP, proxy and TLS together
KEEP_ALIVE = 4.0  # seconds that an idle connection stays open

_USER_AGENT = f"voicetrends-harvester/{__version__}"


@dataclass(frozen=True, slots=True)
class Request:
    """Request. Headers and body may contain a password, so they are in no repr."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """Response, with the body in chunks as they arrive, still in its content encoding."""

    status: int
    headers: Mapping[str, str]  # names in lower case; the values of a repeated name are joined by ", "
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """Sender of HTTP requests."""

    def send(self, request: Request) -> AbstractAsyncContextManager[Response]:
        """Send a request once; the response is valid inside the block.

        Raises:
            SourceUnavailable: no whole answer came; with Outage.CONNECT nothing was sent. Raised on entering the block
                or by the chunks.
        """
        ...


class AiohttpTransport:
    """Transport over a pool of connections, which is open inside `async with`.

    Args:
        timeout: seconds for one whole exchange.
        proxy: URL of an HTTP proxy, possibly with login and password.
        ca_file: PEM certificates to trust instead of the system's.

    Raises:
        ConfigError: `ca_file` is unreadable.
    """

    def __init__(self, *, timeout: float = 60.0, proxy: str | None = None, ca_file: Path | None = None) -> None:
        # Less than the total timeout, so that a slow connection is reported as such.
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=min(CONNECT_TIMEOUT, timeout * 0.9))
        self._proxy, self._proxy_headers = _split_proxy(proxy)
        self._tls = _tls_context(ca_file)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # The number of workers limits the connections. With a second limit a request would wait in aiohttp.
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0, keepalive_timeout=KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            headers={"User-Agent": _USER_AGENT},
            auto_decompress=False,
            trust_env=False,
            middlewares=(_translate_errors,),
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[Response]:
        """See Transport."""
        if self._session is None:
            raise RuntimeError("the transport is not open")
        headers = dict(request.headers)
        if request.url.startswith("http:"):  # for https: it would pass through the tunnel to the API
            headers.update(self._proxy_headers)
        url = URL(request.url, encoded=True)
        try:
            async with (
                self._session.request(
                    request.method,
                    url,
                    headers=headers,
                    data=request.body or None,
                    allow_redirects=False,
                    proxy=self._proxy,
                    proxy_headers=dict(self._proxy_headers),
                ) as response,
                aclosing(_chunks(response)) as chunks,
            ):
                yield Response(response.status, _headers(response), chunks)
        except (aiohttp.ClientError, OSError) as error:
            raise _outage_of(error) from None


async def _chunks(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, OSError) as error:
        raise _outage_of(error) from None


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        name = name.lower()  # noqa: PLW2901 - the lower-case name is the only one wanted
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


@step(Step.SEND)
async def _translate_errors(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except (aiohttp.ClientError, OSError) as error:
        raise _outage_of(error) from None


# Outage and text of each exception. They inherit from each other and from OSError: the first match counts.
_OUTAGES: tuple[tuple[type[Exception], Outage, str], ...] = (
    (aiohttp.ConnectionTimeoutError, Outage.CONNECT, "no connection in time"),
    (aiohttp.ClientConnectorCertificateError, Outage.CONNECT, "the certificate of {host} is not trusted: {reason}"),
    (aiohttp.ClientConnectorDNSError, Outage.CONNECT, "the name {host} cannot be resolved"),
    (aiohttp.ClientSSLError, Outage.CONNECT, "TLS with {host} failed"),
    (aiohttp.ClientProxyConnectionError, Outage.CONNECT, "cannot connect to the proxy {host}: {reason}"),
    (aiohttp.ClientConnectorError, Outage.CONNECT, "cannot connect to {host}: {reason}"),
    (aiohttp.ClientHttpProxyError, Outage.CONNECT, "the proxy refuses the connection"),
    (aiohttp.InvalidURL, Outage.CONNECT, "the URL is invalid"),
    (aiohttp.NonHttpUrlClientError, Outage.CONNECT, "the URL is invalid"),
    (TimeoutError, Outage.TIMEOUT, "no whole answer in time"),
    (aiohttp.ClientResponseError, Outage.NOT_API, "the answer's headers are not valid HTTP"),
    (aiohttp.ClientPayloadError, Outage.CLOSED, "the connection closed before the whole body came"),
    (aiohttp.ServerDisconnectedError, Outage.CLOSED, "the server closed the connection without an answer"),
    (OSError, Outage.CLOSED, "the connection broke: {reason}"),
    (Exception, Outage.CLOSED, "the request failed"),
)


def _outage_of(error: Exception) -> SourceUnavailable:
    outage, text = next((outage, text) for kind, outage, text in _OUTAGES if isinstance(error, kind))
    detail = text.format(host=getattr(error, "host", ""), reason=_reason(error))
    return SourceUnavailable(detail, outage=outage)


def _reason(error: Exception) -> str:
    """Return the text of the operating system or of TLS for an error number, never the exception's own arguments."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(getattr(error.certificate_error, "verify_message", "")) or "it is for another name"
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number is not None and number > 0 else type(error).__name__


@lru_cache(maxsize=8)  # reading the system's certificates takes 30 ms; accounts share them
def _load_certificates(ca_file: Path | None, _modified_at: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _split_proxy(proxy: str | None) -> tuple[URL | None, dict[str, str]]:
    """Return the proxy's URL without its login, and the header with the login."""
    if not proxy:
        return None, {}
    url = URL(proxy)
    if url.user is None:
        return url, {}
    secret = aiohttp.encode_basic_auth(url.user, url.password or "")
    return url.with_user(None), {"Proxy-Authorization": secret}


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return _load_certificates(ca_file, ca_file.stat().st_mtime_ns if ca_file else 0)
    except OSError as error:
        raise ConfigError(f"api.ca_file {ca_file}: {error.strerror or 'contains no PEM certificates'}") from None
