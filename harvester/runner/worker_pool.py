"""Worker pool that runs one account's plan: workers fetch within the quota, the batch writer stores.

A run ends when the plan is done, when the coordinator ends it (credentials, calendar, API unreachable), when the store
fails, or when it is interrupted. Then nothing more is sent, requests in flight have `DRAIN_SECONDS` to end and to be
stored, and the reason is raised. A newer plan waits for all of them instead. Cancelling `run` ends it at once.

A worker takes its permit first and its slice afterwards, so that it sends what is most urgent at that moment. No more
workers wait for a permit than there are slices to take, because the quota counts how many want to send.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from harvester.clock import Clock
from harvester.core.model import RunReport
from harvester.core.retry import pause
from harvester.core.work_queue import Entry
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
from harvester.parsing.normalize import normalize
from harvester.runner.batch_writer import BatchWriter
from harvester.runner.capacity_limiter import CapacityLimiter
from harvester.runner.coordinator import Coordinator
from harvester.runner.ports import Gate, Permit, Source, Store

DRAIN_SECONDS = 10.0  # for requests in flight to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Parts that a worker pool uses."""

    source: Source
    gate: Gate
    store: Store
    clock: Clock
    workers: int
    capacity: CapacityLimiter  # requests sent and not stored, of the whole process


class WorkerPool:
    """Run of one account's plan. Used once."""

    def __init__(self, ports: Ports, coordinator: Coordinator) -> None:
        self._ports = ports
        self._coordinator = coordinator
        self._context = coordinator.context
        self._batch_writer = BatchWriter(ports.store, ports.capacity, coordinator.report, coordinator.context.emit)
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()  # nothing more will be sent
        self._drain_limited = asyncio.Event()  # requests in flight have `DRAIN_SECONDS` only
        self._fetching: set[asyncio.Task[None]] = set()  # workers whose request is in flight
        self._waiting_for_permit = 0  # workers
        self._prober: asyncio.Task[None] | None = None
        self._loading_controls = False
        self._no_auth_since: float | None = None  # monotonic seconds
        self._reported: Transient | None = None

    @property
    def report(self) -> RunReport:
        """The report so far."""
        return self._coordinator.report

    @property
    def superseded(self) -> bool:
        """True if a newer plan ended the run before it was done."""
        return isinstance(self._coordinator.end, Superseded)

    def interrupt(self) -> None:
        """Send nothing more; `run` raises Interrupted once the requests in flight have ended."""
        self._end(Interrupted())

    def recall(self) -> None:
        """Send nothing more because there is a newer plan; `run` returns once the requests in flight have ended."""
        self._end(Superseded())

    async def run(self) -> RunReport:
        """Run the plan until it is done.

        Raises:
            HarvesterError: the run ended early; `report` holds what was done until then.
        """
        writing = asyncio.create_task(self._batch_writer.run())
        workers = [asyncio.create_task(self._work()) for _ in range(self._ports.workers)]
        stopping = asyncio.create_task(self._stopping.wait())
        tasks: list[asyncio.Task[None] | asyncio.Task[bool]] = [*workers, writing, stopping]
        try:
            await self._wait_until_stopping(workers, writing, stopping)
            await self._drain(workers)
            self._hand_over_failures()
            self._batch_writer.close()
            await asyncio.wait({writing})
            self._note_store_failure(writing)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._coordinator.end is not None and not self.superseded:
            raise self._coordinator.end
        return self.report

    async def _wait_until_stopping(
        self, workers: list[asyncio.Task[None]], writing: asyncio.Task[None], stopping: asyncio.Task[bool]
    ) -> None:
        pending = set(workers)
        while pending and not stopping.done():
            done, _ = await asyncio.wait({*pending, writing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if writing in done:
                self._note_store_failure(writing)
            for worker in pending & done:
                worker.result()  # a bug is raised here
            pending -= done

    async def _drain(self, workers: list[asyncio.Task[None]]) -> None:
        """Cancel the workers that wait, and wait for those whose request is in flight."""
        if isinstance(self._coordinator.end, StoreError):
            return  # their answers could not be stored
        for worker in workers:
            if worker not in self._fetching:
                worker.cancel()
        fetching = {worker for worker in workers if worker in self._fetching}
        while fetching and not self._drain_limited.is_set():  # a newer plan waits for what has cost quota already
            limited = asyncio.ensure_future(self._drain_limited.wait())
            await asyncio.wait({*fetching, limited}, return_when=asyncio.FIRST_COMPLETED)
            limited.cancel()
            fetching -= self._done(fetching)
        if fetching:
            await asyncio.wait(fetching, timeout=DRAIN_SECONDS)
            self._done(fetching)

    @staticmethod
    def _done(workers: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        done = {worker for worker in workers if worker.done()}
        for worker in done:
            worker.result()  # a bug is raised here
        return done

    def _note_store_failure(self, writing: asyncio.Task[None]) -> None:
        error = writing.exception() if writing.done() else None
        if isinstance(error, HarvesterError):
            self._coordinator.end = error  # more important than an earlier reason
            self._stopping.set()
        elif error is not None:
            raise error

    def _end(self, error: HarvesterError) -> None:
        self._coordinator.give_up(error)
        if not isinstance(error, Superseded):  # even if a newer plan has ended the run already
            self._drain_limited.set()
        self._notify()

    def _notify(self) -> None:
        """Wake the workers and `run` to look at the coordinator's state."""
        if self._coordinator.end is not None and not self.superseded:
            self._drain_limited.set()
        if self._coordinator.end is not None or self._coordinator.finished:
            self._stopping.set()
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
        """Return True once something may be sent, False once nothing will be sent any more."""
        coordinator = self._coordinator
        while True:
            self._changed.clear()
            if coordinator.needs_controls and not self._loading_controls:
                await self._load_controls()
                continue
            generation = coordinator.decide()
            if generation is not None:
                await self._renew(generation)
                continue
            self._hand_over_failures()
            if coordinator.end or coordinator.finished or self._batch_writer.ended:
                self._notify()
                return False
            if coordinator.may_send(self._waiting_for_permit):
                if not coordinator.breaker.is_open:
                    return True
                if self._prober is None:
                    self._prober = asyncio.current_task()
                    await self._pause_before_probe()
                    return True
            await self._wait_for_change()

    async def _load_controls(self) -> None:
        self._loading_controls = True
        self._coordinator.load_controls(await self._ports.store.answered())
        self._notify()

    async def _wait_for_change(self) -> None:
        moment = self._coordinator.next_due()
        delay = None if moment is None or self._prober else max(0.0, moment - self._context.now())
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._changed.wait()

    async def _pause_before_probe(self) -> None:
        # Not before a narrow range has failed: the API can be reached if only wide ones do.
        give_up_after = self._context.give_up_after if self._coordinator.narrow_failed else math.inf
        seconds = self._coordinator.breaker.next_probe(self._context.now(), give_up_after)
        if seconds is None and self._coordinator.check.last_control():
            return
        if seconds is None:
            raise Unreachable(self._coordinator.progress.last_outage)
        self._context.emit(Event.UNREACHABLE, error=self._coordinator.progress.last_outage, again_in=seconds)
        await self._ports.clock.sleep(seconds)

    async def _send_one(self) -> None:
        capacity = self._ports.capacity
        await capacity.wait()  # without taking a place: the quota may be far away, and other accounts need places, too
        self._waiting_for_permit += 1
        try:
            permit = await self._ports.gate.acquire()
        finally:
            self._waiting_for_permit -= 1
        taken = self._coordinator.take() if capacity.free and self._may_send() else None
        if taken is None:
            with permit:
                permit.unused()
            await asyncio.sleep(0)  # nothing above need have waited: let the task run that changes this
            return
        capacity.take()
        self._notify()  # the slice may have been cut, and its rest can be taken now
        stored_later = False
        try:
            stored_later = await self._fetch(*taken, permit)
        finally:
            if not stored_later:
                capacity.release()

    def _may_send(self) -> bool:
        """Return True if this worker may still send; the answer can change while it waits for the quota."""
        if self._coordinator.end or self._batch_writer.ended:
            return False
        return not self._coordinator.breaker.is_open or self._prober is asyncio.current_task()

    async def _fetch(self, entry: Entry, sequence: int, permit: Permit) -> bool:
        """Fetch one slice. Returns True if its answer was passed to the batch writer."""
        coordinator, report = self._coordinator, self.report
        generation = None
        worker = asyncio.current_task()
        if worker is not None:
            self._fetching.add(worker)
        report.requests += 1
        try:
            page = await self._ports.source.fetch(entry.task.slice, permit)
            batch = normalize(page, self._context.calendar)
        except HarvesterError as error:
            if isinstance(error, SourceUnavailable) and error.outage is Outage.CONNECT:
                report.requests -= 1  # nothing was sent
            generation = coordinator.failed(entry, error)
        else:
            coordinator.answered(entry, sequence, batch)
            if entry.is_control:
                self._hand_over_failures()
                return False
            self._context.emit(
                Event.ANSWERED, slice=entry.task.slice, absent=len(batch.absent), rejects=len(batch.rejects)
            )
            self._batch_writer.put(replace(batch, repeats_absence=True) if entry.task.edge_of else batch)
            return True
        finally:
            for key, limits in coordinator.take_changed_limits().items():
                self._batch_writer.put_range_limits(key, limits)
            coordinator.in_flight -= 1
            self._fetching.discard(worker)
        self._hand_over_failures()
        if generation is not None and coordinator.end is None:
            await self._renew(generation)
        return False

    async def _renew(self, generation: int) -> None:
        while not await self._with_credentials(lambda: self._ports.source.renew(generation)):
            pass
        self._coordinator.renewed(generation)
        self._notify()

    async def _with_credentials(self, obtain: Callable[[], Awaitable[None]]) -> bool:
        """Obtain credentials and return True; after a failure that may pass, pause and return False.

        Raises:
            Unreachable: the failure has lasted too long.
        """
        try:
            await obtain()
        except Transient as error:
            now = self._context.now()
            if isinstance(error, Throttled):
                self._no_auth_since = None  # the API answers, and the next login waits for its limit by itself
            elif self._no_auth_since is None:
                self._no_auth_since = now
            elif now - self._no_auth_since >= self._context.give_up_after:
                raise Unreachable(error.detail) from None
            self._coordinator.without_credentials = error.detail
            if error is not self._reported:  # all workers wait for one login and receive the same error
                self._reported = error
                self._context.emit(Event.NO_CREDENTIALS, error=str(error))
            await self._ports.clock.sleep(pause(1, self._context.jitter()))
            return False
        self._no_auth_since = None
        self._coordinator.without_credentials = ""
        return True
