"""Reader of a response's body: decodes it while it arrives, up to a maximum size.

A gzip stream can decode to a thousand times its size. So it is decoded in bounded steps, and the sum is checked after
each. A stream that is far denser than figures can be has a lower maximum: eight such bodies at once must not exhaust
the memory either. The end of the stream is checked, which common decoders omit: a gzip body that was cut is an error,
not a shorter body. A body may consist of several gzip members, as the format allows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from http import HTTPStatus

from harvester.errors import Outage, PayloadError, SourceUnavailable
from harvester.failpoints import Step, step
from harvester.source.transport import Response

MAX_BODY_BYTES = 16 * 1024 * 1024  # decoded; ten years of days of twelve metrics take 2 MiB in XML
MAX_DENSE_BODY_BYTES = 2 * 1024 * 1024  # decoded, if the compression ratio is above MAX_RATIO
MAX_RATIO = 100  # decoded bytes per received byte; figures reach 5 even if all of them are 0

_STEP_BYTES = 64 * 1024  # decoded at once
_GZIP = 16 + zlib.MAX_WBITS
_CODINGS = {"": None, "identity": None, "gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}


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
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding not in _CODINGS:
        raise PayloadError("the body is in an encoding that was not asked for")
    decoder = _Decoder(wbits) if (wbits := _CODINGS[coding]) is not None else None
    pieces: list[bytes] = []
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
    return b"".join(pieces)


async def read_answer(response: Response) -> bytes:
    """Return the whole decoded body; for a status other than 200, an empty one if it is unreadable.

    Such a status decides what the answer means; its body is only quoted.

    Raises:
        SourceUnavailable, PayloadError: as `read_body`, for a 200.
    """
    try:
        return await read_body(response)
    except (SourceUnavailable, PayloadError):
        if response.status == HTTPStatus.OK:
            raise
        return b""


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
