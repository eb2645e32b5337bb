"""A response's body, decoded while it streams and never larger than is sensible.

A gzip stream can hold a thousand times its size, so it is decoded in bounded steps and the sum is checked at each. One
that is far denser than figures can be is a bomb, and given up early: eight of them at once must not matter either.
Unlike the common decoders this one knows the end of the stream: a gzip body that was cut is an error, not a shorter
body. Members may follow one another, as the format allows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harvester.errors import Outage, PayloadError, SourceUnavailable
from harvester.failpoints import Step, step

if TYPE_CHECKING:
    from harvester.source.transport import Response

LARGEST_BODY = 16 * 1024 * 1024  # bytes, decoded; ten years of days of twelve metrics, in XML, have 2 MiB
LARGEST_DENSE = 2 * 1024 * 1024  # the same of a body that was compressed more than figures can be
MOST_DENSE = 100  # bytes decoded for each that came; figures, even all nought, have 5

_OK = 200
_STEP = 64 * 1024  # bytes decoded at once
_GZIP = 16 + zlib.MAX_WBITS
_CODINGS = {"": None, "identity": None, "gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}


def accepting(kind: str) -> dict[str, str]:
    """The headers that say which body is wanted: `kind` is json or xml."""
    return {"Accept": f"application/{kind}", "Accept-Encoding": "gzip"}


@step(Step.RECEIVE)
async def read_body(response: Response) -> bytes:
    """The whole body.

    Raises:
        SourceUnavailable: it broke off.
        PayloadError: it is too large, or not in the encoding that it claims.
    """
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding not in _CODINGS:
        raise PayloadError("the body is in an encoding that was not asked for")
    inflater = _Inflater(wbits) if (wbits := _CODINGS[coding]) is not None else None
    pieces: list[bytes] = []
    size = 0
    async for chunk in response.chunks:
        for piece in inflater.feed(chunk) if inflater else (chunk,):
            pieces.append(piece)
            size += len(piece)
            dense = inflater is not None and size > MOST_DENSE * inflater.taken
            if size > (LARGEST_DENSE if dense else LARGEST_BODY):
                raise PayloadError("the body is too large; fewer days a request (max_days_per_request) help")
    if inflater and not inflater.whole:
        raise SourceUnavailable("the compressed body was cut", outage=Outage.CLOSED)
    return b"".join(pieces)


async def read_answer(response: Response) -> bytes:
    """The whole body; of an answer other than 200 an empty one if it cannot be read: the status says enough.

    Raises:
        SourceUnavailable, PayloadError: as `read_body`, for a 200.
    """
    try:
        return await read_body(response)
    except (SourceUnavailable, PayloadError):
        if response.status == _OK:
            raise
        return b""


class _Inflater:
    """Decompresses in steps of bounded size."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._stream = zlib.decompressobj(wbits)
        self._fed = False
        self.taken = 0  # bytes decompressed until now

    @property
    def whole(self) -> bool:
        """Whether the stream has ended, or never begun: an empty body needs no encoding."""
        return self._stream.eof or not self._fed

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the data adds, piece by piece."""
        while data:
            if self._stream.eof:
                self._stream = zlib.decompressobj(self._wbits)
            self._fed = True
            try:
                piece = self._stream.decompress(data, _STEP)
            except zlib.error:
                raise PayloadError("the body is not in the encoding that it claims") from None
            rest = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            self.taken += len(data) - len(rest)
            data = rest
            yield piece
