"""A quota driven answer by answer, and constructors of worlds and quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harvester.core.headers import QuotaHeaders
from harvester.core.quota import Block, Quota, Token
from tests.support.quota_world import World
from tests.support.window_server import EPOCH, WindowServer

if TYPE_CHECKING:
    from random import Random

R = int(EPOCH) + 900  # reset of the first window


def short_latency(_: Random) -> float:
    return 0.01


def make_world(*, window: int = 900, begin: float = 1.0, **more: Any) -> World:
    """Return a world that begins in the first second of a window, with equal clocks of host and server."""
    server = {name: more.pop(name) for name in list(more) if name in WindowServer.__dataclass_fields__}
    world = World(WindowServer(window=window, **server), configured_window=window, latency=short_latency, **more)
    world.now = begin
    world.start()
    return world


def make_quota(*, limit: int = 150, reserve: int = 0, window: float = 900) -> Quota:
    return Quota(limit=limit, window=window, reserve=reserve, now=0.0, host=EPOCH)


def ask(quota: Quota, now: float, waiting: int = 1) -> Token | float:
    """Return a token, or the moment until which there is none; store what has to be stored."""
    answer = quota.acquire(now, waiting)
    if isinstance(answer, Block):
        quota.stored(answer)
        answer = quota.acquire(now, waiting)
    assert not isinstance(answer, Block)
    return answer if isinstance(answer, Token) else answer.until


def take(quota: Quota, now: float, waiting: int = 1) -> Token:
    token = ask(quota, now, waiting)
    assert isinstance(token, Token)
    return token


def denied_until(quota: Quota, now: float, waiting: int = 1) -> float:
    moment = ask(quota, now, waiting)
    assert isinstance(moment, float)
    return moment


def headers(now: float, remaining: int | None, reset: int | None = R, **more: Any) -> QuotaHeaders:
    """Return the headers of an answer made at this moment by a server whose clock is right."""
    return QuotaHeaders(remaining=remaining, reset=reset, **{"limit": 150, "date": int(EPOCH + now), **more})


def make_started_quota(*, remaining: int = 149, **more: Any) -> Quota:
    """Return a quota whose first request was answered in the first second of the window."""
    quota = make_quota(**more)
    quota.observe(take(quota, 0.5), 0.6, 200, headers(0.55, remaining))
    return quota


def next_entry(quota: Quota, now: float = 1.0) -> float:
    """Return when the next window is entered, with nothing left in this one."""
    quota.observe(take(quota, now), now, 200, headers(now, 0))
    return denied_until(quota, now)
