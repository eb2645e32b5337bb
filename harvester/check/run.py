"""`check`: everything that can be known to be wrong before a harvest, all of it at once.

Offline it reads configuration, secrets and database, and creates nothing. `--online` asks each account once, as a
harvest would: the account is claimed, and the request is taken from its quota. What the first half found wrong is not
tried in the second.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harvester import config
from harvester.check.advice import advise
from harvester.check.findings import Finding, Findings
from harvester.check.probe import Probe
from harvester.clock import SystemClock
from harvester.core.period import Period
from harvester.engine.account_plan import identity_of, series_count
from harvester.engine.wiring import build_database, build_transport
from harvester.errors import ConfigError, HarvesterError, StoreError
from harvester.store.dsn import SqliteTarget, Target, parse
from harvester.store.migrate import look, refuse_unknown, refuse_unready
from harvester.store.reader import Reader
from harvester.store.types import AccountStatus, RecordedState, SchemaFit, SchemaState, other_days

if TYPE_CHECKING:
    from harvester.config import Account, Settings
    from harvester.store.database import Database

Say = Callable[[str], None]


@dataclass(slots=True)
class Check:
    """A check of these settings. Used once: `offline`, then perhaps `online`; `findings` may be read meanwhile."""

    settings: Settings
    environ: Mapping[str, str]
    findings: Findings
    say: Say  # why it takes long
    detail: Say  # what goes on
    _stored: dict[str, AccountStatus] = field(default_factory=dict, init=False)  # by account
    _usable: bool = field(default=False, init=False)  # the database

    def offline(self) -> None:
        """Look at configuration, secrets and database."""
        self._check_configuration()
        self._check_database()
        for account in self.settings.accounts.values():
            self._check_password(account)
            self._check_certificates(account)
            self._check_calendar(account)

    def _check_configuration(self) -> None:
        settings, findings = self.settings, self.findings
        findings.warnings += advise(settings)
        try:
            config.require_accounts(settings)
        except ConfigError as error:
            findings.wrong("configuration", error)
        else:
            series = sum(map(series_count, settings.accounts.values()))
            source = settings.source or "the environment"
            findings.add(Finding("configuration", f"{source}: accounts: {len(settings.accounts)}, series: {series}"))
        for line in config.warnings(settings):
            findings.wrong("permissions", ConfigError(line))

    def _check_database(self) -> None:
        database, findings = self.settings.database, self.findings
        try:
            target = parse(database.url, database.schema, config.database_password(self.settings, self.environ))
            state = look(target)
            described = _describe(target, state, auto_migrate=database.auto_migrate)
            if state.fit is SchemaFit.HEAD:
                self._read()
        except HarvesterError as error:
            findings.wrong("database", error)
        else:
            self._usable = True
            findings.add(Finding("database", f"{target}: {described}"))

    def _read(self) -> None:
        """What is stored of each account."""
        database = self.settings.database
        password = config.database_password(self.settings, self.environ)
        with Reader(database.url, database.schema, password) as reader:
            self._stored = {status.identity.name: status for status in reader.accounts()}
        for name, learnt in self.findings.accounts.items():
            if (status := self._stored.get(name)) is not None and status.answered_at is not None:
                learnt.answer, learnt.answered_at = status.answer, status.answered_at

    def _check_password(self, account: Account) -> None:
        name = f"accounts.{account.name}.password"
        try:
            config.password(account.name, self.settings, self.environ)
        except ConfigError as error:
            self.findings.wrong(name, error, account.name)
        else:
            self.findings.add(Finding(name, "can be had"), account.name)

    def _check_certificates(self, account: Account) -> None:
        if account.api.ca_file is not None:
            try:
                build_transport(account)
            except ConfigError as error:
                self.findings.wrong(f"accounts.{account.name}.api.ca_file", error, account.name)

    def _check_calendar(self, account: Account) -> None:
        if (stored := self._stored.get(account.name)) is None:
            return
        periods = {one.series.period for one in stored.series if one.coverage}
        for setting, problem in other_days(stored.identity, identity_of(account, self.settings), periods).items():
            self.findings.wrong(f"accounts.{account.name}.{setting}", ConfigError(problem), account.name)

    def _has_rows(self, account: Account) -> bool:
        status = self._stored.get(account.name)
        return status is not None and any(one.coverage for one in status.series)

    async def online(self) -> None:
        """Ask each account once, side by side. After a cancellation those that did not come to an end are marked."""
        if not self._usable:
            for name in self.findings.accounts:
                self._skip(name, "the database must be usable first")
            return
        database = build_database(self.settings, self.environ)
        slots = asyncio.Semaphore(self.settings.api.concurrency)
        try:
            await asyncio.gather(*(self._one(each, database, slots) for each in self.settings.accounts.values()))
        finally:
            await database.close()

    async def _one(self, account: Account, database: Database, slots: asyncio.Semaphore) -> None:
        """One account's trouble stays its own."""
        name, learnt = account.name, self.findings.accounts[account.name]
        if any(one.error for one in learnt.findings):
            self._skip(name, "mend the above first")
            return
        learnt.finished = False
        probe = Probe(
            account=account,
            settings=self.settings,
            environ=self.environ,
            database=database,
            clock=SystemClock(),
            slots=slots,
            say=lambda text: self.say(f"{name}: {text}"),
            detail=lambda text: self.detail(f"{name}: {text}"),
            weeks_matter=Period.WEEK in account.periods or not self._has_rows(account),
        )
        try:
            finding = await self._probed(probe)
        except HarvesterError as error:
            finding = Finding(_online(name), str(error), error)
        except Exception as error:  # noqa: BLE001 - a bug in one account must not stop the others
            finding = Finding(_online(name), "a bug stopped it", error)
        finally:
            learnt.requests, learnt.held_by = probe.requests, probe.held_by
        learnt.finished = True
        self.findings.add(finding, name)

    async def _probed(self, probe: Probe) -> Finding:
        name = probe.account.name
        told = await probe.run()
        if told is not None:
            learnt = self.findings.accounts[name]
            learnt.answer, learnt.answered_at = told, int(probe.clock.time())
            return Finding(_online(name), told)
        await asyncio.to_thread(self._read)  # the holder may have had an answer since
        return Finding(_online(name), f"held by {probe.held_by}, which asks by itself; {_newest(self._stored[name])}")

    def _skip(self, account: str, reason: str) -> None:
        self.findings.add(Finding(_online(account), f"not asked: {reason}", skipped=True), account)


def run(check: Check, *, online: bool, on_second_interrupt: Callable[[], object]) -> None:
    """Make the check. The first SIGINT or SIGTERM ends it in order, the second calls the function given."""
    try:
        check.offline()
        if online:
            asyncio.run(_interruptibly(check, on_second_interrupt))
    except KeyboardInterrupt:
        check.findings.interrupt()


async def _interruptibly(check: Check, on_second_interrupt: Callable[[], object]) -> None:
    work = asyncio.ensure_future(check.online())

    def interrupted() -> None:
        if check.findings.interrupted:
            on_second_interrupt()
        check.findings.interrupt()
        work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupted)
    await asyncio.wait({work})
    if not work.cancelled():
        work.result()


def _online(account: str) -> str:
    return f"accounts.{account}.online"


def _newest(status: AccountStatus) -> str:
    """What whoever holds the account left in the database."""
    trouble = f"{status.state.value}: {status.reason}; " if status.state is not RecordedState.OK else ""
    if status.answered_at is None:
        return f"{trouble}it had no answer yet"
    return (
        f"{trouble}its answer of {datetime.fromtimestamp(status.answered_at, UTC):%Y-%m-%d %H:%M:%SZ}: {status.answer}"
    )


def _describe(target: Target, state: SchemaState, *, auto_migrate: bool) -> str:
    """How the database is, in words.

    Raises:
        StoreError: a harvest could not begin.
    """
    if isinstance(target, SqliteTarget) or auto_migrate:
        refuse_unknown(target, state)
    else:
        refuse_unready(target, state)
    if isinstance(target, SqliteTarget):
        _refuse_unwritable(target.path)
    if state.fit is SchemaFit.HEAD:
        return f"at schema {state.revision}"
    if state.fit is SchemaFit.EMPTY:
        return "empty; the first harvest makes the tables"
    return f"at the older schema {state.revision}; the next harvest migrates it"


def _refuse_unwritable(path: Path) -> None:
    """Locks and logs are made beside the file, so its directory counts, too."""
    for place in (path.parent, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise StoreError(f"{place} is read-only here; let this user write to the file and to its directory")
