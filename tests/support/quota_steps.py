"""A quota driven by hand, answer by answer, and worlds to drive it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harvester.core.headers import QuotaHeaders
from harvester.core.quota import Block, Quota, Token
from tests.support.quota_world import World
from tests.support.window_server import EPOCH, WindowServer

if TYPE_CHECKING:
    from random import Random

R = int(EPOCH) + 900  # end of the window in which a world begins


def quick(_: Random) -> float:
    return 0.01


def world(*, window: int = 900, begin: float = 1.0, **more: Any) -> World:
    """A world that begins in the first second of a window, host's and server's clock alike."""
    server = {name: more.pop(name) for name in list(more) if name in WindowServer.__dataclass_fields__}
    made = World(WindowServer(window=window, **server), configured_window=window, latency=quick, **more)
    made.now = begin
    made.start()
    return made


def quota(*, limit: int = 150, reserve: int = 0, window: float = 900) -> Quota:
    return Quota(limit=limit, window=window, reserve=reserve, now=0.0, host=EPOCH)


def ask(asked: Quota, now: float, waiting: int = 1) -> Token | float:
    """A token, or the moment until which there is none; what has to be stored is."""
    answer = asked.acquire(now, waiting)
    if isinstance(answer, Block):
        asked.stored(answer)
        answer = asked.acquire(now, waiting)
    assert not isinstance(answer, Block)
    return answer if isinstance(answer, Token) else answer.until


def take(asked: Quota, now: float, waiting: int = 1) -> Token:
    token = ask(asked, now, waiting)
    assert isinstance(token, Token)
    return token


def until(asked: Quota, now: float, waiting: int = 1) -> float:
    moment = ask(asked, now, waiting)
    assert isinstance(moment, float)
    return moment


def facts(now: float, remaining: int | None, reset: int | None = R, **more: Any) -> QuotaHeaders:
    """An answer made at this moment by a server whose clock is right."""
    return QuotaHeaders(remaining=remaining, reset=reset, **{"limit": 150, "date": int(EPOCH + now), **more})


def begun(*, remaining: int = 149, **more: Any) -> Quota:
    """A quota whose first request was answered in the first second of the window."""
    made = quota(**more)
    made.observe(take(made, 0.5), 0.6, 200, facts(0.55, remaining))
    return made


def opens(made: Quota, now: float = 1.0) -> float:
    """When the next window is entered, with nothing left in this one."""
    made.observe(take(made, now), now, 200, facts(now, 0))
    return until(made, now)
