"""Reader of a response's body: decodes it while it arrives, up to a maximum size.

A gzip stream can decode to a thousand times its size. So it is decoded in bounded steps, and the sum is checked after
each. A stream that is far denser than figures can be has a lower maximum: eight such bodies at once must not exhaust
the memory either. The end of the stream is checked, which common decoders omit: a gzip body that was cut is an error,
not a shorter body. A body may consist of several gzip members, as the format allows.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus

from harvester.errors import Outage, PayloadError, SourceUnavailable
from harvester.failpoints import Step, step
from harvester.source.transport import Response

MAX_BODY_BYTES = 16 * 1024 * 1024  # decoded; ten years of days of twelve metrics take 2 MiB in XML
MAX_DENSE_BODY_BYTES = 2 * 1024 * 1024  # decoded, if the compression ratio is above MAX_RATIO
MAX_RATIO = 100  # decoded bytes per received byte; figures reach 5 even if all of them are 0

ERROR_BODY_SECONDS = 2.0  # in which the body of an answer other than 200 may come

_STEP_BYTES = 64 * 1024  # decoded at once
_GZIP = 16 + zlib.MAX_WBITS
_UNREADABLE = -1
_FOREIGN = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi", "pack200-gzip", "aes128gcm"})
_CODINGS: dict[str, int | None] = {
    "": None,
    "identity": None,
    "gzip": _GZIP,
    "x-gzip": _GZIP,
    "deflate": zlib.MAX_WBITS,
}


def accept_headers(body_format: str) -> dict[str, str]:
    """Return the headers that ask for a body in `body_format` (json or xml)."""
    return {"Accept": f"application/{body_format}", "Accept-Encoding": "gzip"}


@step(Step.RECEIVE)
async def read_body(response: Response) -> bytes:
    """Return the whole decoded body.

    Raises:
        SourceUnavailable: the body was cut.
        PayloadError: the body is too large, or not in the encoding that its header names.
    """
    pieces: list[bytes] = []
    await _read_into(pieces, response)
    return b"".join(pieces)


async def _read_into(pieces: list[bytes], response: Response) -> None:
    """Append the decoded body to `pieces`, as it arrives; raise as `read_body`."""
    wbits = _window_bits(response.headers.get("content-encoding", ""))
    decoder = _Decoder(wbits) if wbits is not None else None
    size = 0
    async for chunk in response.chunks:
        for piece in decoder.feed(chunk) if decoder else (chunk,):
            pieces.append(piece)
            size += len(piece)
            is_dense = decoder is not None and size > MAX_RATIO * decoder.received_bytes
            if size > (MAX_DENSE_BODY_BYTES if is_dense else MAX_BODY_BYTES):
                raise PayloadError("the body is too large; set max_days_per_request to fewer days")
    if decoder and not decoder.is_complete:
        raise SourceUnavailable("the compressed body was cut", outage=Outage.CLOSED)


def _window_bits(header: str) -> int | None:
    """Return zlib's window bits for a Content-Encoding; None for a body that is not encoded.

    A coding that is named twice was applied once, where one layer of servers repeats the header of another. A word that
    is no coding ("utf-8") changes nothing.
    """
    codings = {word for part in header.lower().split(",") if (word := part.strip()) in _CODINGS or word in _FOREIGN}
    found = {_CODINGS.get(coding, _UNREADABLE) for coding in codings} - {None}
    if len(found) > 1 or _UNREADABLE in found:
        raise PayloadError("the body is in an encoding that was not asked for")
    return found.pop() if found else None


async def read_answer(response: Response) -> bytes:
    """Return the whole decoded body; for a status other than 200, what came of it within ERROR_BODY_SECONDS.

    Such a status decides what the answer means; its body is only quoted. Its Content-Length may be wrong: the published
    samples state more than they send, and the rest would be waited for until the time-out.

    Raises:
        SourceUnavailable, PayloadError: as `read_body`, for a 200.
    """
    if response.status == HTTPStatus.OK:
        return await read_body(response)
    pieces: list[bytes] = []
    with suppress(SourceUnavailable, PayloadError, TimeoutError):
        async with asyncio.timeout(ERROR_BODY_SECONDS):
            await _read_into(pieces, response)
    return b"".join(pieces)


class _Decoder:
    """Decompressor with output in pieces of bounded size."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._stream = zlib.decompressobj(wbits)
        self._is_started = False
        self.received_bytes = 0  # that were decompressed

    @property
    def is_complete(self) -> bool:
        """True if the stream has ended, or not begun: an empty body is valid in every encoding."""
        return self._stream.eof or not self._is_started

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` decodes to, piece by piece."""
        while data:
            if self._stream.eof:
                self._stream = zlib.decompressobj(self._wbits)
            self._is_started = True
            try:
                piece = self._stream.decompress(data, _STEP_BYTES)
            except zlib.error:
                raise PayloadError("the body is not in the encoding that its header names") from None
            remaining = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            self.received_bytes += len(data) - len(remaining)
            data = remaining
            yield piece
