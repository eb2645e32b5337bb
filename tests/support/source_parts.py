"""Parts that the source's tests put around the real ones: a ledger in memory, a permit that records its use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

SENT_AT = 1_518_200_000  # epoch second that RecordingPermit reports for each request


class MemoryLedger:
    """source.tool_credentials.AuthLedger in memory."""

    def __init__(self, *at: float) -> None:
        self.at = list(at)

    async def attempts(self) -> list[float]:
        return list(self.at)

    async def record(self, at: float) -> None:
        self.at.append(at)


class RecordingPermit:
    """runner.ports.Permit that records what was done with it."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __enter__(self) -> Self:
        self.events.append("begin")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.events.append("end")

    def answered(self, status: int, headers: Mapping[str, str]) -> int:
        self.events.append(f"{status} {headers.get('x-ratelimit-remaining', '-')}")
        return SENT_AT

    def unused(self) -> None:
        self.events.append("unused")


async def run_inline(function: Callable[[], str]) -> str:
    return function()
