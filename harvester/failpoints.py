"""Places in which a test may have the process die; in an ordinary run there are none.

`step(Step.COMMIT)` above a function says that it is one step on the way of an answer from the API into the database,
and names the places around it: before-commit and after-commit. A step that raises passes the first of them only.

The environment is read once, when this is imported. Without _HARVESTER_FAILPOINT, which is no setting, each function
stays what it is: nothing is left to be paid for, or to be set off by anything. With it:

    _HARVESTER_FAILPOINT="kill after-commit 3"     SIGKILL where that place is passed for the third time
    _HARVESTER_FAILPOINT="kill after-commit 3 before-write"    the same, counted from the first before-write on
    _HARVESTER_FAILPOINT="kill any 37"             SIGKILL at the 37th place passed, whichever it is
    _HARVESTER_FAILPOINT="tell FILE"               a line in FILE for each place passed
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

ANY = "any"


class Step(StrEnum):
    """The way of an answer, in order."""

    RESERVE = "reserve"  # allowance is written down
    SEND = "send"  # the request leaves, the head of its answer comes
    RECEIVE = "receive"  # the body comes
    PARSE = "parse"  # what it means is found out
    BEGIN = "begin"  # a transaction
    WRITE = "write"  # answers, into their tables
    COMMIT = "commit"  # the transaction
    RELEASE = "release"  # the account is given back


PLACES = tuple(f"{when}-{one}" for one in Step for when in ("before", "after"))


def _armed(order: str) -> Callable[[str], None] | None:
    """What is to be done at each place passed, by its name; None: nothing, and there are no places."""
    if not order:
        return None
    verb, target, *rest = order.split()
    if verb == "tell":
        return _teller(Path(target))
    if verb != "kill" or (target not in PLACES and target != ANY):
        raise ValueError(f"_HARVESTER_FAILPOINT: there is no {verb} {target}")
    return _killer(target, int(rest[0]), *rest[1:])


def _teller(file: Path) -> Callable[[str], None]:
    def tell(place: str) -> None:
        with file.open("a") as lines:
            lines.write(f"{place}\n")

    return tell


def _killer(target: str, number: int, since: str = ANY) -> Callable[[str], None]:
    passed: Counter[str] = Counter()
    turn = threading.Lock()  # the store has a thread of its own

    def kill(place: str) -> None:
        with turn:
            if since not in {place, ANY} and not passed:
                return
            passed.update((place, ANY))
            if target in {place, ANY} and passed[target] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    return kill


_PASS = _armed(os.environ.get("_HARVESTER_FAILPOINT", ""))


def step(name: Step) -> Callable[[Function], Function]:
    """Name the places before and after a function, which may be a coroutine's; see above."""
    if _PASS is None:
        return lambda function: function
    pass_by = _PASS

    @contextmanager
    def places() -> Iterator[None]:
        pass_by(f"before-{name}")
        yield
        pass_by(f"after-{name}")

    @asynccontextmanager
    async def places_of_coroutine() -> AsyncIterator[None]:
        with places():
            yield

    def around(function: Function) -> Function:
        if iscoroutinefunction(function):
            return places_of_coroutine()(function)
        return places()(function)

    return around
