"""A standby that waits for a lost session of its own is not ready."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account
from harvester.simulator.world import World
from tests.support.daemon import account_of, calendar_at_noon, daemon, prepared
from tests.support.databases import query

if TYPE_CHECKING:
    from tests.acceptance.conftest import Install

CALENDAR = calendar_at_noon()


def test_a_lost_session_of_the_same_process_is_no_holder(postgres_url: str, install: Install) -> None:
    api = SimulatedApi([Account(world=World(calendar=CALENDAR))])
    harvester = prepared(install(api, postgres_url, **account_of(CALENDAR, 3, phones=["8005550101"])))
    with daemon(harvester) as first:
        first.until_idle()
        with daemon(harvester) as second:
            second.until_state("standby")
            assert second.readiness()[0] == 200
            ours = f"pid {second.pid} on {socket.gethostname()}"
            query(postgres_url, f"UPDATE account SET holder = '{ours}'")  # noqa: S608 - a name of the test's own
            second.until_state("no database")
            assert "a lost session of this process" in second.reason()
            assert second.readiness()[0] == 503
        first.running.kill()
