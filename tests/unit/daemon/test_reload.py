from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Account, Address, Daemon, Database, Log, Phone, ProcessApi, Settings
from harvester.daemon.reload import decide

ACCOUNTS = st.sampled_from(["a", "b"]).map(lambda login: Account(name="main", login=login, phones=(Phone("ALL"),)))
SETTINGS = st.builds(
    Settings,
    database=st.builds(
        Database, url=st.sampled_from(["sqlite:////a.db", "sqlite:////b.db"]), auto_migrate=st.booleans()
    ),
    daemon=st.builds(
        Daemon,
        refresh=st.sampled_from(["5 * * * *", "6 * * * *"]),
        listen=st.sampled_from([None, Address("127.0.0.1", 1)]),
        allowed_hosts=st.sampled_from([(), ("a",)]),
    ),
    log=st.builds(Log, level=st.sampled_from(["info", "debug"])),
    api=st.builds(ProcessApi, concurrency=st.sampled_from([1, 2])),
    accounts=ACCOUNTS.map(lambda account: {"main": account}),
)


@given(SETTINGS, SETTINGS)
def test_what_a_restart_applies_stays_and_the_rest_is_new(started: Settings, new: Settings) -> None:
    decision = decide(started, new)
    daemon = replace(new.daemon, listen=started.daemon.listen, allowed_hosts=started.daemon.allowed_hosts)
    assert decision.settings == replace(new, database=started.database, log=started.log, daemon=daemon)
    differences = {
        "database.url": new.database.url != started.database.url,
        "database.auto_migrate": new.database.auto_migrate != started.database.auto_migrate,
        "daemon.listen": new.daemon.listen != started.daemon.listen,
        "daemon.allowed_hosts": new.daemon.allowed_hosts != started.daemon.allowed_hosts,
        "log.level": new.log.level != started.log.level,
    }
    assert decision.restart_needed == tuple(key for key, differs in differences.items() if differs)


@given(SETTINGS, SETTINGS)
def test_a_reload_is_idempotent(started: Settings, new: Settings) -> None:
    decision = decide(started, new)
    assert decide(started, new) == decision
    assert decide(started, decision.settings) == (decision.settings, ())


@given(SETTINGS, SETTINGS)
def test_setting_a_key_back_clears_its_need_of_a_restart(started: Settings, new: Settings) -> None:
    assert decide(started, replace(new, log=started.log)).restart_needed == tuple(
        key for key in decide(started, new).restart_needed if not key.startswith("log.")
    )
    assert decide(started, started) == (started, ())
