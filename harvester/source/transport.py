"""One HTTP exchange: a request out, a status, headers and a body's chunks back.

`Transport` is the seam: a simulation answers in process, `AiohttpTransport` over sockets. What goes wrong on the way
becomes SourceUnavailable here, in words of our own and without its cause: a foreign exception may hold a header.

Outage.CONNECT promises that no byte of the request left, so the caller may keep its quota. Whatever may have been
sent is another outage.

One call of `send` is at most one request on the wire. aiohttp by itself sends an idempotent request again when a kept
connection turns out dead, which the quota would not know of. It does so on its own exceptions only, so a middleware
turns them into ours before it sees them; the caller tries again, and counts. Idle connections are dropped before the
five seconds after which common servers close them, so that this is rare.

No redirect is followed, no cookie kept, no proxy or netrc taken from the environment. The body comes undecoded (see
body.py), and the total timeout runs over all of it, so a trickle ends too.
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

CONNECT_TIMEOUT = 10.0  # seconds: name, TCP, proxy and TLS together
KEEP_ALIVE = 4.0  # seconds

_USER_AGENT = f"voicetrends-harvester/{__version__}"


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. Headers and body may hold a password and are in no repr."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: the body in pieces as they come, still in its content encoding."""

    status: int
    headers: Mapping[str, str]  # names in lower case; of a repeated one all values, joined by ", "
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """Sends requests."""

    def send(self, request: Request) -> AbstractAsyncContextManager[Response]:
        """Send one request, once; the response lives as long as the block.

        Raises (on entering, or from the chunks):
            SourceUnavailable: no whole answer came. With Outage.CONNECT nothing was sent.
        """
        ...


class AiohttpTransport:
    """The real one: a pool of connections, open while inside `async with`."""

    def __init__(self, *, timeout: float = 60.0, proxy: str | None = None, ca_file: Path | None = None) -> None:
        """Prepare; nothing is opened yet.

        Args:
            timeout: seconds for one whole exchange.
            proxy: URL of an HTTP proxy, possibly with login and password.
            ca_file: PEM certificates to trust instead of the system's.

        Raises:
            ConfigError: `ca_file` cannot be read.
        """
        # With room for the connecting inside it: who is slow to connect should be named so.
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=min(CONNECT_TIMEOUT, timeout * 0.9))
        self._proxy, self._proxy_headers = _split_proxy(proxy)
        self._tls = _tls_context(ca_file)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # The workers bound the number of connections. A second bound would let one wait unseen.
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0, keepalive_timeout=KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            headers={"User-Agent": _USER_AGENT},
            auto_decompress=False,
            trust_env=False,
            middlewares=(_send_once,),
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
        if request.url.startswith("http:"):  # through a tunnel, the header would reach the API
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
                yield Response(response.status, _lowered(response), chunks)
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(error) from None


async def _chunks(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, OSError) as error:
        raise _translated(error) from None


def _lowered(response: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        name = name.lower()  # noqa: PLW2901 - the lower-case name is the only one wanted
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


@step(Step.SEND)
async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except (aiohttp.ClientError, OSError) as error:
        raise _translated(error) from None


# What each of aiohttp's errors means. They inherit from each other and from OSError: the first that fits is taken.
_MEANINGS: tuple[tuple[type[Exception], Outage, str], ...] = (
    (aiohttp.ConnectionTimeoutError, Outage.CONNECT, "not connected in time"),
    (aiohttp.ClientConnectorCertificateError, Outage.CONNECT, "the certificate of {host} is not trusted: {reason}"),
    (aiohttp.ClientConnectorDNSError, Outage.CONNECT, "the name {host} cannot be resolved"),
    (aiohttp.ClientSSLError, Outage.CONNECT, "no TLS with {host}"),
    (aiohttp.ClientProxyConnectionError, Outage.CONNECT, "cannot connect to the proxy {host}: {reason}"),
    (aiohttp.ClientConnectorError, Outage.CONNECT, "cannot connect to {host}: {reason}"),
    (aiohttp.ClientHttpProxyError, Outage.CONNECT, "the proxy refuses the connection"),
    (aiohttp.InvalidURL, Outage.CONNECT, "the URL is none that HTTP can reach"),
    (aiohttp.NonHttpUrlClientError, Outage.CONNECT, "the URL is none that HTTP can reach"),
    (TimeoutError, Outage.TIMEOUT, "no whole answer in time"),
    (aiohttp.ClientResponseError, Outage.NOT_API, "the answer's head is not proper HTTP"),
    (aiohttp.ClientPayloadError, Outage.CLOSED, "the connection closed before the body was whole"),
    (aiohttp.ServerDisconnectedError, Outage.CLOSED, "the server closed the connection without an answer"),
    (OSError, Outage.CLOSED, "the connection broke: {reason}"),
    (Exception, Outage.CLOSED, "the exchange failed"),
)


def _translated(error: Exception) -> SourceUnavailable:
    outage, words = next((outage, words) for kind, outage, words in _MEANINGS if isinstance(error, kind))
    detail = words.format(host=getattr(error, "host", ""), reason=_reason(error))
    return SourceUnavailable(detail, outage=outage)


def _reason(error: Exception) -> str:
    """What the operating system or TLS said: a text for a number, never the arguments of the exception itself."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(getattr(error.certificate_error, "verify_message", "")) or "it does not fit the name"
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number is not None and number > 0 else type(error).__name__


@lru_cache(maxsize=8)  # reading the system's certificates takes 30 ms; accounts share them
def _loaded(ca_file: Path | None, _changed: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _split_proxy(proxy: str | None) -> tuple[URL | None, dict[str, str]]:
    """The proxy's URL without its login, and the header that carries it."""
    if not proxy:
        return None, {}
    url = URL(proxy)
    if url.user is None:
        return url, {}
    secret = aiohttp.encode_basic_auth(url.user, url.password or "")
    return url.with_user(None), {"Proxy-Authorization": secret}


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return _loaded(ca_file, ca_file.stat().st_mtime_ns if ca_file else 0)
    except OSError as error:
        raise ConfigError(f"api.ca_file {ca_file}: {error.strerror or 'holds no PEM certificates'}") from None
