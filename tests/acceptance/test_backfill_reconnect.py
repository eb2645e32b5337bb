"""A backfill that waits for an account, or for the quota, outlives a restart of PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.answers import identity
from tests.support.databases import claimed, query
from tests.support.postgres import running_cluster

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install

BACKFILL = ("backfill", "--start", "2024-01-01", "--end", "2024-01-31")
PHONES = [f"80055501{number:02}" for number in range(12)]


def sent(api: SimulatedApi) -> int:
    return sum(api.requests_per_window().values())


async def test_a_backfill_that_waits_for_an_account_outlives_a_restart(install: Install) -> None:
    api = SimulatedApi([Account(world=World())])
    with running_cluster() as cluster, cluster.database() as url:
        harvester = install(api, url, phones=PHONES[:2])
        async with claimed(url, identity()):
            with harvester.started(*BACKFILL) as running:
                running.until(lambda: query(url, "SELECT count(*) FROM backfill_order") == [(1,)])
                cluster.stop("fast")
                running.until(lambda: "database_lost" in running.err)
                cluster.start()
                ended = running.ended()
        assert ended.code == 0, ended.err
        assert sent(api) == 2
        assert query(url, "SELECT count(*) FROM backfill_order") == [(0,)]


async def test_a_restart_costs_no_request_of_the_window(install: Install) -> None:
    limit = 40
    api = SimulatedApi([Account(world=World())], Options(limit=limit, window=86_400, latency=0.15))
    with running_cluster() as cluster, cluster.database() as url:
        harvester = install(api, url, phones=PHONES, api={"concurrency": 2})
        begin = (*BACKFILL[:2], "2014-01-01", *BACKFILL[3:])
        with harvester.started(*begin) as running:
            running.until(lambda: sent(api) >= limit // 4)
            cluster.stop("fast")
            running.until(lambda: "database_lost" in running.err)
            cluster.start()
            running.until(lambda: sent(api) == limit)
