"""Drains one account's plan: workers fetch under the quota, the committer stores, the Judge decides.

Ways to end: the plan is done; the Judge ends it (credentials, calendar, API unreachable), the store fails, or somebody
interrupts. Then nothing more is sent, what is in flight is given `DRAIN_SECONDS` to come and be stored, and the reason
is raised. For a newer plan all of it is waited for. Cancelling `run` ends it at once.

A worker takes its permit first and its slice after, so that what is sent is the most urgent at that moment. No more of
them wait for a permit than there are slices to take: the quota goes by how many want to send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harvester.core.normalize import normalize
from harvester.core.retry import pause
from harvester.errors import (
    HarvesterError,
    Interrupted,
    Outage,
    SourceUnavailable,
    StoreError,
    Superseded,
    Throttled,
    Transient,
    Unreachable,
)
from harvester.events import Event
from harvester.runner.batch_writer import BatchWriter

if TYPE_CHECKING:
    from harvester.clock import Clock
    from harvester.core.model import RunReport
    from harvester.core.work_queue import Entry
    from harvester.runner.capacity_limiter import CapacityLimiter
    from harvester.runner.coordinator import Coordinator
    from harvester.runner.ports import Gate, Permit, Source, Store

DRAIN_SECONDS = 10.0  # for requests in flight to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a drain works with."""

    source: Source
    gate: Gate
    store: Store
    clock: Clock
    workers: int
    capacity: CapacityLimiter  # requests sent and not stored, over the process


class WorkerPool:
    """One account's plan being worked off. Used once."""

    def __init__(self, ports: Ports, coordinator: Coordinator) -> None:
        self._ports = ports
        self._coordinator = coordinator
        self._context = coordinator.context
        self._batch_writer = BatchWriter(ports.store, ports.capacity, coordinator.report, coordinator.context.emit)
        self._changed = asyncio.Event()
        self._over = asyncio.Event()  # nothing more will be sent
        self._hurry = asyncio.Event()  # what is in flight has `DRAIN_SECONDS` seconds
        self._flying: set[asyncio.Task[None]] = set()
        self._asking = 0  # workers that wait for a permit
        self._prober: asyncio.Task[None] | None = None
        self._no_auth_since: float | None = None
        self._told: Transient | None = None

    @property
    def report(self) -> RunReport:
        """What was done so far."""
        return self._coordinator.report

    @property
    def superseded(self) -> bool:
        """Whether it was recalled before it was done."""
        return isinstance(self._coordinator.end, Superseded)

    def interrupt(self) -> None:
        """Take no more work; `run` raises Interrupted when what is in flight has ended."""
        self._end(Interrupted())

    def recall(self) -> None:
        """Take no more work, for there is a newer plan; `run` returns when what is in flight has ended."""
        self._end(Superseded())

    async def run(self) -> RunReport:
        """Work until the plan is done.

        Raises:
            HarvesterError: the account's work ended before; `report` tells how far it came.
        """
        writing = asyncio.create_task(self._batch_writer.run())
        workers = [asyncio.create_task(self._work()) for _ in range(self._ports.workers)]
        over = asyncio.create_task(self._over.wait())
        everything: list[asyncio.Task[None] | asyncio.Task[bool]] = [*workers, writing, over]
        try:
            await self._until_over(workers, writing, over)
            await self._land(workers)
            self._hand_over_failures()
            self._batch_writer.close()
            await asyncio.wait({writing})
            self._note_store_failure(writing)
        finally:
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)
        if self._coordinator.end is not None and not self.superseded:
            raise self._coordinator.end
        return self.report

    async def _until_over(
        self, workers: list[asyncio.Task[None]], writing: asyncio.Task[None], over: asyncio.Task[bool]
    ) -> None:
        pending = set(workers)
        while pending and not over.done():
            done, _ = await asyncio.wait({*pending, writing, over}, return_when=asyncio.FIRST_COMPLETED)
            if writing in done:
                self._note_store_failure(writing)
            for worker in pending & done:
                worker.result()  # a bug is raised here
            pending -= done

    async def _land(self, workers: list[asyncio.Task[None]]) -> None:
        """Stop who waits, and wait for what is in flight."""
        if isinstance(self._coordinator.end, StoreError):
            return  # what would come could not be stored
        for worker in workers:
            if worker not in self._flying:
                worker.cancel()
        flying = {worker for worker in workers if worker in self._flying}
        while flying and not self._hurry.is_set():  # a newer plan can wait for what was paid for
            hurry = asyncio.ensure_future(self._hurry.wait())
            await asyncio.wait({*flying, hurry}, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            flying -= self._landed(flying)
        if flying:
            await asyncio.wait(flying, timeout=DRAIN_SECONDS)
            self._landed(flying)

    @staticmethod
    def _landed(workers: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        done = {worker for worker in workers if worker.done()}
        for worker in done:
            worker.result()  # a bug is raised here
        return done

    def _note_store_failure(self, writing: asyncio.Task[None]) -> None:
        error = writing.exception() if writing.done() else None
        if isinstance(error, HarvesterError):
            self._coordinator.end = error  # it outweighs what came before
            self._over.set()
        elif error is not None:
            raise error

    def _end(self, error: HarvesterError) -> None:
        self._coordinator.give_up(error)
        if not isinstance(error, Superseded):  # also when a newer plan has ended it already
            self._hurry.set()
        self._notify()

    def _notify(self) -> None:
        """Something happened that others may be waiting for."""
        if self._coordinator.end is not None and not self.superseded:
            self._hurry.set()
        if self._coordinator.end is not None or self._coordinator.finished:
            self._over.set()
        self._changed.set()

    def _hand_over_failures(self) -> None:
        if self._coordinator.failures:
            self._batch_writer.put_failures(list(self._coordinator.failures))
            self._coordinator.failures.clear()

    async def _work(self) -> None:
        try:
            while await self._wait_for_work():
                try:
                    if await self._with_credentials(self._ports.source.ready):
                        await self._send_one()
                finally:
                    if self._prober is asyncio.current_task():
                        self._prober = None
                    self._notify()
        except HarvesterError as error:
            self._end(error)

    async def _wait_for_work(self) -> bool:
        """Return True when something may be sent, False when nothing will be any more."""
        coordinator = self._coordinator
        while True:
            self._changed.clear()
            generation = coordinator.decide_parked()
            if generation is not None:
                await self._renew(generation)
                continue
            self._hand_over_failures()
            if coordinator.end or coordinator.finished:
                self._notify()
                return False
            if coordinator.may_send(self._asking):
                if not coordinator.breaker.is_open:
                    return True
                if self._prober is None:
                    self._prober = asyncio.current_task()
                    await self._pause_before_probe()
                    return True
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        moment = self._coordinator.next_moment()
        delay = None if moment is None or self._prober else max(0.0, moment - self._context.now())
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._changed.wait()

    async def _pause_before_probe(self) -> None:
        seconds = self._coordinator.breaker.next_probe(self._context.now(), self._context.give_up_after)
        if seconds is None:
            raise Unreachable(self._coordinator.last_outage)
        self._context.emit(Event.UNREACHABLE, error=self._coordinator.last_outage, again_in=seconds)
        await self._ports.clock.sleep(seconds)

    async def _send_one(self) -> None:
        capacity = self._ports.capacity
        await (
            capacity.wait()
        )  # the quota may have to be waited for, so no place is taken yet: other accounts need them, too
        self._asking += 1
        try:
            permit = await self._ports.gate.acquire()
        finally:
            self._asking -= 1
        taken = self._coordinator.take() if capacity.free and self._may_send() else None
        if taken is None:
            with permit:
                permit.unused()
            return
        capacity.take()
        self._notify()  # it may have been cut, and there is more to take now
        stored_later = False
        try:
            stored_later = await self._ask(*taken, permit)
        finally:
            if not stored_later:
                capacity.release()

    def _may_send(self) -> bool:
        """Whether this worker still may, which it had to ask before it waited for the quota."""
        if self._coordinator.end or self._batch_writer.over:
            return False
        return not self._coordinator.breaker.is_open or self._prober is asyncio.current_task()

    async def _ask(self, entry: Entry, order: int, permit: Permit) -> bool:
        """Fetch one slice. Returns whether an answer is on its way to the store."""
        coordinator, report = self._coordinator, self.report
        generation = None
        me = asyncio.current_task()
        if me is not None:
            self._flying.add(me)
        report.requests += 1
        try:
            page = await self._ports.source.fetch(entry.task.slice, permit)
            batch = normalize(page, self._context.calendar)
        except HarvesterError as error:
            if isinstance(error, SourceUnavailable) and error.outage is Outage.CONNECT:
                report.requests -= 1  # nothing was sent
            generation = coordinator.failed(entry, error)
        else:
            if coordinator.answered(entry, order):
                resource = entry.task.slice.series.resource
                self._batch_writer.put_range_limits(resource, self._context.limit_trackers[resource].limits)
            self._context.emit(
                Event.ANSWERED, slice=entry.task.slice, absent=len(batch.absent), rejects=len(batch.rejects)
            )
            self._batch_writer.put(batch)
            return True
        finally:
            coordinator.in_flight -= 1
            self._flying.discard(me)
        self._hand_over_failures()
        if generation is not None and coordinator.end is None:
            await self._renew(generation)
        return False

    async def _renew(self, generation: int) -> None:
        while not await self._with_credentials(lambda: self._ports.source.renew(generation)):
            pass
        self._coordinator.renewed(generation)
        self._notify()

    async def _with_credentials(self, ask: Callable[[], Awaitable[None]]) -> bool:
        """Whether credentials could be had; a failure that may pass is waited for here.

        Raises:
            Unreachable: it has lasted too long.
        """
        try:
            await ask()
        except Transient as error:
            now = self._context.now()
            if isinstance(error, Throttled):
                self._no_auth_since = None  # the API is there, and the next exchange waits as long as it has to
            elif self._no_auth_since is None:
                self._no_auth_since = now
            elif now - self._no_auth_since >= self._context.give_up_after:
                raise Unreachable(error.detail) from None
            self._coordinator.without_credentials = error.detail
            if error is not self._told:  # all workers wait for one exchange, and hear of its failure
                self._told = error
                self._context.emit(Event.NO_CREDENTIALS, error=str(error))
            await self._ports.clock.sleep(pause(1, self._context.jitter()))
            return False
        self._no_auth_since = None
        self._coordinator.without_credentials = ""
        return True
