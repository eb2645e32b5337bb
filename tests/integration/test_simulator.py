"""The simulator over real sockets, as another program uses it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import AsyncIterator
from datetime import date

import aiohttp
import pytest

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.faults import Fault, Faults
from harvester.simulator.options import Options
from harvester.simulator.server import SimulatorServer
from harvester.simulator.world import World
from tests.support.simulation import basic, direct_account, refused_per_window, serving_in_thread, simulator_process

_PATH = "/performance/20240101/20240131/day/8005551234"
_ACCOUNT = direct_account()
_HEADERS = basic(_ACCOUNT.login, _ACCOUNT.password)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=_HEADERS, timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


async def test_it_answers_with_its_figures_and_the_quota_headers(client: aiohttp.ClientSession) -> None:
    api = SimulatedApi([_ACCOUNT])
    async with SimulatorServer(api) as server, client.get(server.url + _PATH) as response:
        body = await response.json()
    truth = World().truth("performance", "8005551234", Period.DAY, date(2024, 1, 1), date(2024, 1, 31))
    assert {metric: {int(at): value for at, value in values.items()} for metric, values in body.items()} == truth
    assert response.headers["X-RateLimit-Remaining"] == "149"
    assert int(response.headers["X-RateLimit-Reset"]) % 900 == 0
    assert sum(api.requests_per_window().values()) == api.total == 1


@pytest.mark.parametrize("date_sent", [True, False])
async def test_date_comes_from_the_servers_own_clock_or_is_absent(
    client: aiohttp.ClientSession, *, date_sent: bool
) -> None:
    api = SimulatedApi([_ACCOUNT], Options(clock_offset=-86_400 * 365.0, date=date_sent))
    async with SimulatorServer(api) as server, client.get(server.url + _PATH) as response:
        dates = response.headers.getall("Date", [])
    year = time.gmtime(time.time() - 86_400 * 365).tm_year
    assert [str(year) in text for text in dates] == [True] * date_sent


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Fault.DROP, aiohttp.ServerDisconnectedError),
        (Fault.DROP_BODY, aiohttp.ClientPayloadError),
        (Fault.CUT, aiohttp.ClientPayloadError),
        (Fault.CUT_CHUNKED, aiohttp.ClientPayloadError),
    ],
)
async def test_a_lost_connection_is_detected_and_the_next_answer_is_whole(
    client: aiohttp.ClientSession, fault: Fault, raised: type[Exception]
) -> None:
    api = SimulatedApi([_ACCOUNT])
    async with SimulatorServer(api) as server:
        # aiohttp repeats a GET by itself if an idle connection turns out to be closed, so both requests get the fault.
        api.inject(fault, times=2 if fault is Fault.DROP else 1)
        with pytest.raises(raised):
            async with client.get(server.url + _PATH) as response:
                await response.read()
        api.injected.clear()  # the second request may not have come
        async with client.get(server.url + _PATH) as response:
            assert json.loads(await response.read())


async def test_an_outage_closes_connections_and_counts_nothing(client: aiohttp.ClientSession) -> None:
    api = SimulatedApi([_ACCOUNT], Options(outages=((0.0, 1e12),)))
    async with SimulatorServer(api) as server:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.get(server.url + _PATH)
    assert api.requests_per_window() == {}
    assert {visit.status for visit in api.journal} == {0}


@pytest.mark.parametrize("fault", [Fault.SLOW, Fault.SLOW_BODY])
async def test_slow_answers_are_slow_and_whole(client: aiohttp.ClientSession, fault: Fault) -> None:
    api = SimulatedApi([_ACCOUNT], Options(faults=Faults(slow_seconds=0.2)))
    api.inject(fault)
    loop = asyncio.get_running_loop()
    async with SimulatorServer(api) as server:
        began_at = loop.time()
        async with client.get(server.url + _PATH) as response:
            assert json.loads(await response.read())
        assert loop.time() - began_at >= 0.19


async def test_a_compressed_answer_is_the_same(client: aiohttp.ClientSession) -> None:
    async with SimulatorServer(SimulatedApi([_ACCOUNT], Options(gzip=True))) as server:
        async with client.get(server.url + _PATH) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            compressed = await response.read()
        async with client.get(server.url + _PATH, headers={"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            assert await response.read() == compressed


async def test_concurrent_requests_are_each_counted_once(client: aiohttp.ClientSession) -> None:
    api = SimulatedApi([_ACCOUNT], Options(limit=50, window=86_400, latency=0.01, jitter=0.02))
    async with SimulatorServer(api) as server:

        async def ask(number: int) -> int:
            async with client.get(f"{server.url}/profile/20240101/20240102/day/{8005550000 + number}") as response:
                return response.status

        statuses = await asyncio.gather(*(ask(number) for number in range(60)))
    assert (statuses.count(200), statuses.count(429)) == (50, 10)
    assert list(api.requests_per_window().values()) == [50]
    assert list(refused_per_window(api).values()) == [10]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])  # noqa: S104 - refused
def test_it_binds_loopback_only(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        SimulatorServer(SimulatedApi(), host)


def test_it_serves_blocking_code_from_a_thread() -> None:
    api = SimulatedApi([_ACCOUNT])
    with serving_in_thread(api) as url:
        request = urllib.request.Request(url + _PATH, headers=_HEADERS)  # noqa: S310 - our own loopback URL
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - as above
            assert json.load(response)["calls"]
    assert api.total == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(number: signal.Signals) -> None:
    with simulator_process("--limit", "7", "--phones", "8005551234") as (process, url):
        form = b"tool=fuseplus&login=demo%40example.com&password=demo"
        with urllib.request.urlopen(f"{url}/auth", form, timeout=10) as response:  # noqa: S310 - our own loopback URL
            pair = json.load(response)
        headers = basic(pair["login"], pair["password"])
        request = urllib.request.Request(url + _PATH, headers=headers)  # noqa: S310 - as above
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - as above
            assert response.headers["X-RateLimit-Limit"] == "7"
        process.send_signal(number)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "cutt=0.1"], "unknown kind 'cutt'"),
        (["--fault", "cut=lots"], "KIND=PROBABILITY"),
        (["--fault", "cut=0.7", "--fault", "junk=0.7"], "between 0 and 1"),
        (["--phones", "8005551234,(800) 555"], "write digits only"),
        (["--timezone", "Mars/Base"], "'Mars/Base' is not a time zone"),
    ],
)
def test_the_command_refuses_invalid_arguments(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-c", "from harvester.cli.simulate import simulate; simulate()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_command_reports_a_port_in_use() -> None:
    code = "from harvester.cli.simulate import simulate; simulate()"
    with serving_in_thread(SimulatedApi()) as url:
        port = url.removesuffix("/api").rpartition(":")[2]
        command = [sys.executable, "-c", code, "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert f"Cannot listen on port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_chosen_password_is_not_printed_and_the_configuration_is_toml() -> None:
    command = [sys.executable, "-c", "from harvester.cli.simulate import simulate; simulate()", "--port", "0"]
    chosen = ["--password", "canary", "--login", 'o"dd', "--phones", "8005551234"]
    with subprocess.Popen([*command, *chosen], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert "canary" not in errors
    snippet = tomllib.loads(errors.rpartition("\n\n")[0])
    assert snippet["api"]["base_url"] == url
    assert snippet["accounts"]["main"]["login"] == 'o"dd'
    assert snippet["accounts"]["main"]["phones"] == ["ALL", "8005551234"]


def test_the_command_module_imports_neither_aiohttp_nor_the_simulator() -> None:
    code = "import sys, harvester.cli.simulate; print({'aiohttp', 'harvester.simulator'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "set()\n"
