"""Failpoints: places at which a test can kill the process. In an ordinary run there are none.

The decorator `step(Step.COMMIT)` marks a function as one step of an answer's way from the API into the database, and
names the places around it: before-commit and after-commit. A step that raises passes only the first of them.

The environment variable _HARVESTER_FAILPOINT (for tests; not a setting) is read once, at import. Without it the
decorator returns each function unchanged, so that it costs nothing and nothing can trigger it later. With it:

    _HARVESTER_FAILPOINT="kill after-commit 3"     SIGKILL when that place is passed for the third time
    _HARVESTER_FAILPOINT="kill after-commit 3 before-write"    the same, counted from the first before-write on
    _HARVESTER_FAILPOINT="kill any 37"             SIGKILL at the 37th place passed, whichever it is
    _HARVESTER_FAILPOINT="record FILE"             a line in FILE for each place passed
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
    """Steps of an answer, in order."""

    RESERVE = "reserve"  # store the allowance
    SEND = "send"  # send the request and receive the head of its answer
    RECEIVE = "receive"  # receive the body
    PARSE = "parse"  # parse the body
    BEGIN = "begin"  # begin a transaction
    WRITE = "write"  # write answers into their tables
    COMMIT = "commit"  # commit the transaction
    RELEASE = "release"  # release the account


PLACES = tuple(f"{when}-{name}" for name in Step for when in ("before", "after"))


def _parse(value: str) -> Callable[[str], None] | None:
    """Return the function to call with the name of each place passed; None if there are no places."""
    if not value:
        return None
    verb, target, *rest = value.split()
    if verb == "record":
        return _recorder(Path(target))
    if verb != "kill" or (target not in PLACES and target != ANY):
        raise ValueError(f"_HARVESTER_FAILPOINT: there is no {verb} {target}")
    return _killer(target, int(rest[0]), *rest[1:])


def _recorder(file: Path) -> Callable[[str], None]:
    def record(place: str) -> None:
        with file.open("a") as lines:
            lines.write(f"{place}\n")

    return record


def _killer(target: str, number: int, since: str = ANY) -> Callable[[str], None]:
    passed: Counter[str] = Counter()
    lock = threading.Lock()  # the store runs in a thread of its own

    def kill(place: str) -> None:
        with lock:
            if since not in {place, ANY} and not passed:
                return
            passed.update((place, ANY))
            if target in {place, ANY} and passed[target] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    return kill


_ON_PASS = _parse(os.environ.get("_HARVESTER_FAILPOINT", ""))


def step(name: Step) -> Callable[[Function], Function]:
    """Mark a function, plain or async, as a step."""
    if _ON_PASS is None:
        return lambda function: function
    on_pass = _ON_PASS

    @contextmanager
    def places() -> Iterator[None]:
        on_pass(f"before-{name}")
        yield
        on_pass(f"after-{name}")

    @asynccontextmanager
    async def places_of_coroutine() -> AsyncIterator[None]:
        with places():
            yield

    def decorate(function: Function) -> Function:
        if iscoroutinefunction(function):
            return places_of_coroutine()(function)
        return places()(function)

    return decorate
