"""A gate that notices a worker which keeps the event loop for itself."""

from __future__ import annotations

from collections.abc import Callable

from harvester.runner.ports import Gate, Permit

MAX_ASKED_AT_ONCE = 1000  # permits, without a step of the loop between


class YieldingGate:
    """Gate that fails a worker which asks again and again without ever letting another task run."""

    def __init__(self, gate: Gate, now: Callable[[], float]) -> None:
        self._gate = gate
        self._now = now
        self._asked_at = -1.0
        self._asked = 0

    async def acquire(self) -> Permit:
        """See runner.ports.Gate."""
        now = self._now()  # each step of the loop moves it by a microsecond
        self._asked = self._asked + 1 if now == self._asked_at else 1
        self._asked_at = now
        assert self._asked < MAX_ASKED_AT_ONCE, "a worker asks for permits and lets nothing else run"
        return await self._gate.acquire()
