"""The simulator, started where a test needs it: in its own loop, in a thread, or as a process.

In the test's own loop `SimulatorServer` itself will do: `async with SimulatorServer(api) as server: server.url`.
"""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from harvester.simulator.options import Account
from harvester.simulator.request import Reply, Request
from harvester.simulator.server import SimulatorServer

if TYPE_CHECKING:
    from harvester.simulator.api import SimulatedApi

_STARTS_WITHIN = 20.0  # seconds
_OPENS = "open sesame"
_COMMAND = "from harvester.cli.simulate import simulate; simulate()"


@contextmanager
def serving_in_thread(api: SimulatedApi, port: int = 0) -> Iterator[str]:
    """Serve in a thread with a loop of its own, for tests of other processes and of blocking code; gives the URL."""
    started = threading.Event()
    found: list[str] = []
    failed: list[BaseException] = []
    stoppers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        async with SimulatorServer(api, port=port) as server:
            stoppers.append((asyncio.get_running_loop(), stop))
            found.append(server.url)
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - handed to the test below
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="simulator", daemon=True)
    thread.start()
    assert started.wait(_STARTS_WITHIN), "the simulator did not start"
    if failed:
        raise failed[0]
    try:
        yield found[0]
    finally:
        loop, stop = stoppers[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(_STARTS_WITHIN)
    assert not failed, failed
    assert not thread.is_alive()


@contextmanager
def simulator_process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`harvester simulate` as a process of its own on a free port; gives the process and the URL."""
    command = [sys.executable, "-c", _COMMAND, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, f"the simulator ended with {process.wait(_STARTS_WITHIN)}"
            yield process, url
        finally:
            if process.poll() is None:
                process.kill()


def basic(login: str, password: str) -> dict[str, str]:
    """The Authorization header of a pair, with its name in lower case."""
    return {"authorization": "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()}


def direct_account(name: str = "main", **settings: object) -> Account:
    """An account whose login and password open the data resources themselves."""
    return Account(name=name, login=f"{name}@example.com", password=_OPENS, direct=True, **settings)  # type: ignore[arg-type]


def respond(api: SimulatedApi, request: Request, now: float) -> Reply:
    """Accept and answer a request at once, without a socket."""
    return api.answer(api.accept(request), now)


def refused_per_window(api: SimulatedApi, account: str = "main") -> dict[int, int]:
    """Return the client's 429s of each window, by the epoch second at which the window begins."""
    return {start: window.refused for start, window in api.quota(account).windows.items() if window.refused}


def get(
    api: SimulatedApi, path: str, now: float, account: Account, *, accept: str = "application/json", method: str = "GET"
) -> Reply:
    """Ask the API itself, without a socket, with the credentials of a direct account."""
    headers = {"accept": accept, **basic(account.login, account.password)}
    return respond(api, Request(method, path, headers), now)


def post_auth(api: SimulatedApi, now: float, *, accept: str = "application/json", **form: str) -> Reply:
    """Ask for a temporary pair, without a socket."""
    return respond(api, Request("POST", "/api/auth", {"accept": accept}, urlencode(form).encode()), now)


def header(reply: Reply, name: str) -> str | None:
    """One header of an answer."""
    return next((value for key, value in reply.headers if key.lower() == name.lower()), None)
