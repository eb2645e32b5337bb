"""Objects that all accounts of one process share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from harvester import config
from harvester.clock import Clock
from harvester.config import Account, Settings
from harvester.engine.wiring import build_transport
from harvester.runner.capacity_limiter import CapacityLimiter
from harvester.runner.ports import Observer
from harvester.store.claims import Database

if TYPE_CHECKING:
    from harvester.source.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Objects that all accounts of one process share. A simulation replaces the last four."""

    settings: Settings
    environ: Mapping[str, str]
    database: Database
    clock: Clock
    slots: asyncio.Semaphore  # requests in flight
    capacity: CapacityLimiter  # requests sent and not stored
    emit: Observer
    password: Callable[[str], str]  # takes an account's name; may take long
    measure: Callable[[str, str, str, float], None] | None = None  # takes account, resource, outcome, seconds
    waiting: Callable[[str, float | None], None] | None = None  # takes account and monotonic moment
    transport: Callable[[Account], AbstractAsyncContextManager[Transport]] = build_transport
    jitter: Callable[[], float] = random.random
    run_blocking: Callable[[Callable[[], str]], Awaitable[str]] = asyncio.to_thread  # a password's command may be slow
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep  # between reads of what other processes write


def build_process(
    settings: Settings,
    environ: Mapping[str, str],
    database: Database,
    *,
    clock: Clock,
    emit: Observer,
    measure: Callable[[str, str, str, float], None] | None = None,
    waiting: Callable[[str, float | None], None] | None = None,
    ending: Event | None = None,
) -> Process:
    """Return a process whose concurrency is that of the settings; the parameters are the fields of `Process`.

    `ending`, set from any thread, ends the command of a password.
    """
    concurrency = settings.api.concurrency
    return Process(
        settings=settings,
        environ=environ,
        database=database,
        clock=clock,
        slots=asyncio.Semaphore(concurrency),
        capacity=CapacityLimiter(2 * concurrency),
        emit=emit,
        measure=measure,
        waiting=waiting,
        password=lambda account: config.password(account, settings, environ, ending=ending),
    )
