"""Chaos soak: a real daemon, a real database, real HTTP, and one fault after the other for as long as asked.

    python -m tests.proof.soak --minutes 30 --database sqlite --database postgresql

The simulator serves far more work than the soak can finish, with 3 % of each transport fault and 3 % of 429s although
quota is left. Between faults the daemon works; each fault has a check while it lasts and one after it. At the end:

- every stored value equals the simulator's truth, and nothing is complete that was not asked for after its end;
- no window of the server's holds more requests than its limit;
- /readyz says 503 within 30 s of a database fault, and 200 within 60 s of the end of any fault;
- the systemd status line is renewed to the end, and the log holds no `bug`;
- windows without a fault are used to 95 % in the mean.

Runs in `make prove`; not in `make test`, because it takes minutes by design.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from harvester.core.period import Period
from harvester.simulator.api import SimulatedApi
from harvester.simulator.faults import Faults
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.daemon import EVERY_MINUTE, Daemon, account_of, calendar_at_noon, daemon, prepared, today
from tests.support.fault_proxy import FaultProxy, Timeout, proxied
from tests.support.postgres import Cluster, running_cluster
from tests.support.process import Installation, configuration
from tests.support.simulation import refused_per_window, serving_in_thread
from tests.support.small_disk import mounted_disk
from tests.support.truth import stored_rows

LIMIT, WINDOW = 60, 20  # requests per window of so many seconds
SHARE = 0.03  # of requests that meet each kind of fault
PHONES = tuple(f"80055502{number:02}" for number in range(40))
DAYS = 3000
READY_WITHIN = 60.0  # seconds after the end of a fault
NOT_READY_WITHIN = 30.0  # seconds after the database went
CALM = 65.0  # seconds between two faults: at least two whole windows
FULL_USE = 0.95  # of the quota, in windows without a fault
SETTLED = 5.0  # seconds after the recovery from a fault that are not measured

FAULTS = Faults(
    **dict.fromkeys(
        (
            *("server_error", "bad_gateway", "unavailable", "html", "throttle", "drop", "drop_body"),
            *("cut", "cut_chunked", "junk", "slow", "slow_body"),
        ),
        SHARE,
    ),
    slow_seconds=0.5,
)


@dataclass
class Site:
    """One database, one simulator and the daemons at work on them."""

    api: SimulatedApi
    harvester: Installation
    url: str  # of the database, as the checks reach it
    random: random.Random
    cluster: Cluster | None = None
    proxy: FaultProxy | None = None
    disk: Path | None = None
    first: Daemon | None = None
    running: ExitStack = field(default_factory=ExitStack)
    calm: list[int] = field(default_factory=list)  # starts of windows without a fault, by the server's clock
    log: list[dict[str, Any]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def daemon(self) -> Daemon:
        """The daemon that is watched."""
        assert self.first is not None
        return self.first

    def start(self) -> None:
        """Start the daemon."""
        self.first = self.running.enter_context(daemon(self.harvester))

    def stop(self, kind: signal.Signals) -> None:
        """End the daemon by a signal; SIGTERM must leave 0 within its bound."""
        self.daemon.running.signal(kind)
        code = self.daemon.running.ended(within=20.0).code
        if kind is signal.SIGTERM and code != 0:
            self.findings.append(f"SIGTERM left {code}")
        self.keep_log()
        self.running.close()
        self.running = ExitStack()

    def rest(self) -> None:
        """Let the daemon work without a fault, and note the windows that lie within."""
        time.sleep(SETTLED)
        began = self.api.server_time(time.time())
        time.sleep(CALM)
        ended = self.api.server_time(time.time())
        first = int(-(-began // WINDOW)) * WINDOW
        self.calm += range(first, int(ended) - WINDOW + 1, WINDOW)

    def keep_log(self) -> None:
        """Take over the log of the daemon that ended."""
        self.log += self.daemon.events()

    def ready(self) -> int:
        """Return the status of /readyz, 0 where nothing answers."""
        try:
            return self.daemon.readiness()[0]
        except (OSError, ValueError):
            return 0

    def until(self, status: int, within: float, what: str) -> None:
        """Wait for a status of /readyz; a finding if it does not come in time."""
        deadline = time.monotonic() + within
        while self.ready() != status:
            if time.monotonic() > deadline:
                states = self.daemon.readiness()[1] if self.ready() else "no answer"
                self.findings.append(f"{what}: /readyz is not {status} within {within:.0f} s: {states}")
                return
            time.sleep(0.5)


Chaos = Callable[[Site], None]


def kill(site: Site) -> None:
    """SIGKILL, and a new daemon."""
    site.stop(signal.SIGKILL)
    site.start()


def terminate(site: Site) -> None:
    """SIGTERM, and a new daemon."""
    site.stop(signal.SIGTERM)
    site.start()


def freeze(site: Site) -> None:
    """SIGSTOP for ten seconds."""
    os.kill(site.daemon.pid, signal.SIGSTOP)
    time.sleep(10.0)
    os.kill(site.daemon.pid, signal.SIGCONT)


def reload_changed(site: Site) -> None:
    """SIGHUP with a changed setting."""
    before = len(site.daemon.events("reloaded"))
    site.harvester.configure("api", max_rate=site.random.choice([200.0, 300.0, 400.0]))
    site.daemon.running.signal(signal.SIGHUP)
    site.daemon.until(lambda: len(site.daemon.events("reloaded")) > before, within=30.0)


def reload_invalid(site: Site) -> None:
    """SIGHUP with a configuration that is refused; the old one stays in use."""
    before = len(site.daemon.events("reload_failed"))
    site.harvester.configure("api", timeout=-1.0)
    site.daemon.running.signal(signal.SIGHUP)
    site.daemon.until(lambda: len(site.daemon.events("reload_failed")) > before, within=30.0)
    site.harvester.configure("api", timeout=5.0)


def second_daemon(site: Site) -> None:
    """A second daemon takes over from a killed one."""
    with daemon(site.harvester) as second:
        second.until(lambda: set(second.states().values()) == {"standby"}, within=30.0)
        site.daemon.running.kill()
        second.until(lambda: "standby" not in second.states().values(), within=30.0)
        time.sleep(5.0)
        second.running.signal(signal.SIGTERM)
        if second.running.ended(within=20.0).code != 0:
            site.findings.append("SIGTERM of the second daemon did not leave 0")
        site.log += second.events()
    site.keep_log()
    site.running.close()
    site.running = ExitStack()
    site.start()


def outage(site: Site) -> None:
    """The API closes every connection for half a minute."""
    at = site.api.server_time(time.time())
    site.api.options = replace(site.api.options, outages=((at, at + 30.0),))
    time.sleep(30.0)


def clock_step(site: Site) -> None:
    """The server's clock is stepped by five minutes."""
    offset = site.random.choice([-300.0, 0.0, 300.0])
    site.api.options = replace(site.api.options, clock_offset=offset)
    time.sleep(2 * WINDOW)


def database_stopped(site: Site) -> None:
    """PostgreSQL is stopped for a while and started again."""
    assert site.cluster is not None
    site.cluster.stop()
    site.until(503, NOT_READY_WITHIN, "database stopped")
    site.cluster.start()


def database_hung(site: Site) -> None:
    """The connection to PostgreSQL stays open and carries nothing."""
    assert site.proxy is not None
    toxics = (Timeout(), Timeout(upstream=True))
    site.proxy.add(*toxics)
    site.until(503, NOT_READY_WITHIN, "database hung")
    time.sleep(5.0)
    site.proxy.remove(*toxics)


def database_locked(site: Site) -> None:
    """Another program holds the SQLite file for 45 seconds."""
    with contextlib.closing(sqlite3.connect(site.url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 30000")
        other.execute("BEGIN IMMEDIATE")
        site.until(503, NOT_READY_WITHIN, "database locked")
        time.sleep(15.0)
        other.execute("ROLLBACK")


def disk_full(site: Site) -> None:
    """The disk below the SQLite file is full for twenty seconds."""
    if site.disk is None:
        return  # this user may not mount a small disk
    filler = site.disk / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 65_536)
            file.flush()
    site.until(503, NOT_READY_WITHIN, "disk full")
    filler.unlink()


EVERYWHERE: tuple[Chaos, ...] = (
    *(kill, terminate, freeze, reload_changed, reload_invalid, second_daemon, outage, clock_step),
)
SQLITE: tuple[Chaos, ...] = (*EVERYWHERE, database_locked, disk_full)
POSTGRESQL: tuple[Chaos, ...] = (*EVERYWHERE, database_stopped, database_hung)


@contextmanager
def site_on(kind: str, folder: Path, seed: int) -> Iterator[Site]:
    """Set up the simulator, the database and the configuration."""
    calendar = calendar_at_noon()
    api = SimulatedApi(
        [Account(world=World(calendar=calendar))],
        Options(seed=seed, limit=LIMIT, window=WINDOW, faults=FAULTS, max_days=10, latency=0.02),
    )
    with ExitStack() as stack:
        cluster = proxy = disk = None
        home = folder / "home"
        home.mkdir()
        if kind == "sqlite":
            disk = stack.enter_context(mounted_disk(folder / "disk", "200m"))
            url = reached = f"sqlite:///{disk or home}/soak.db"
        else:
            cluster = stack.enter_context(running_cluster(tcp=True))
            reached = stack.enter_context(cluster.database())
            name = reached.rpartition("/")[2].partition("?")[0]
            proxy, address = stack.enter_context(proxied(f"http://127.0.0.1:{cluster.port}"))
            url = f"postgresql://postgres@{address.removeprefix('http://')}/{quote(name)}"
        served = stack.enter_context(serving_in_thread(api))
        account = account_of(calendar, DAYS, phones=list(PHONES))
        tables = configuration(served, url, limit=LIMIT, window=WINDOW, api={"timeout": 5.0}, **account)
        harvester = prepared(Installation(home, tables), refresh=EVERY_MINUTE)
        site = Site(api, harvester, reached, random.Random(seed), cluster, proxy, disk)  # noqa: S311 - no secret
        site.start()
        try:
            yield site
        finally:
            site.running.close()


def live(kind: str, minutes: float, seed: int) -> dict[str, Any]:
    """Soak one database; returns the figures and the findings."""
    with TemporaryDirectory(prefix="soak") as folder, site_on(kind, Path(folder), seed) as site:
        end = time.monotonic() + minutes * 60
        counts: dict[str, int] = {}
        site.rest()
        while time.monotonic() < end:
            chaos = site.random.choice(SQLITE if kind == "sqlite" else POSTGRESQL)
            counts[chaos.__name__] = counts.get(chaos.__name__, 0) + 1
            chaos(site)
            site.until(200, READY_WITHIN, chaos.__name__)
            site.rest()
        site.api.options = replace(site.api.options, faults=Faults(), clock_offset=0.0)
        time.sleep(2.0 * WINDOW)
        renewed = site.daemon.manager.moments("STATUS")
        if time.monotonic() - renewed[-1] > 2.0 * WINDOW:
            site.findings.append("the status line was not renewed")
        site.stop(signal.SIGTERM)
        return {"database": kind, "seed": seed, "chaos": counts, **figures(site)}


def figures(site: Site) -> dict[str, Any]:
    """Check what is stored and what the server counted."""
    site.findings += [f"bug: {event}" for event in site.log if event["event"] == "bug"][:3]
    windows = site.api.requests_per_window()
    site.findings += [f"{sent} requests in window {at}" for at, sent in windows.items() if sent > LIMIT][:3]
    wrong, values = check_values(site)
    site.findings += wrong[:3]
    use = sum(windows.get(at, 0) for at in site.calm) / (LIMIT * max(1, len(site.calm)))
    if use < FULL_USE:
        site.findings.append(f"calm windows are used to {use:.1%}")
    refused = sum(refused_per_window(site.api).values())
    return {
        "values": values,
        "requests": sum(windows.values()),
        "refused": refused,
        "calm_windows": len(site.calm),
        "use": round(use, 4),
        "findings": site.findings,
    }


def check_values(site: Site) -> tuple[list[str], int]:
    """Compare every stored value with the truth; returns what is wrong, and how many values there are."""
    world = site.api.accounts["main"].world
    present = today(world.calendar).isoformat()
    wrong: list[str] = []
    truths: dict[tuple[str, str], dict[str, dict[int, Any]]] = {}
    rows = stored_rows(site.url)
    days = sorted({row[6] for row in rows})
    for row, count in rows.items():
        _, resource, phone, _, epoch, _, local_date, metric, value, complete, _ = row
        if (resource, phone) not in truths:
            first, last = (world.calendar.local_date(0).fromisoformat(day) for day in (days[0], days[-1]))
            truths[resource, phone] = {
                name: dict(values) for name, values in world.truth(resource, phone, Period.DAY, first, last).items()
            }
        if count > 1 or (complete and local_date >= present):
            wrong.append(f"doubled or complete too early: {row}")
        elif local_date < present and value != float(truths[resource, phone][metric][epoch]):
            wrong.append(f"not the truth: {row}")
    return wrong, len(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak; returns 1 where there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="for each database")
    parser.add_argument("--database", action="append", choices=["sqlite", "postgresql"])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 - which one is free
    options = parser.parse_args(arguments)
    found = [live(kind, options.minutes, options.seed) for kind in options.database or ["sqlite", "postgresql"]]
    for one in found:
        sys.stdout.write(json.dumps(one, indent=2) + "\n")
    return 1 if any(one["findings"] for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
