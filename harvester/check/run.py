"""Check of configuration, secrets, database and API, which reports all problems at once: the `check` command.

The offline part reads configuration, secrets and database, and creates nothing. `--online` sends one request per
account, as a backfill would: the account is claimed, and the request counts against its quota. An account for which the
offline part found a problem is skipped.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harvester import config
from harvester.check.advice import advise
from harvester.check.findings import Finding, Findings
from harvester.check.probe import Probe
from harvester.clock import SystemClock
from harvester.config import Account, Settings
from harvester.console.text import utc_time
from harvester.core.period import Period
from harvester.database.dsn import SqliteTarget, Target, parse
from harvester.database.pooler import refuse_pooled
from harvester.engine.account_plan import identity_of, series_count
from harvester.engine.wiring import build_database, build_transport
from harvester.errors import ConfigError, HarvesterError, StoreError
from harvester.store.claims import Database
from harvester.store.reader import Reader
from harvester.store.schema_state import refuse_unmigratable, refuse_unready, schema_state_of
from harvester.store.types import AccountStatus, RecordedState, SchemaFit, SchemaState, other_days

Printer = Callable[[str], None]


@dataclass(slots=True)
class Check:
    """Check of these settings. Used once: call `offline`, then `online`; `findings` may be read meanwhile."""

    settings: Settings
    environ: Mapping[str, str]
    findings: Findings
    notice: Printer  # reasons for delays
    detail: Printer  # each step
    _stored: dict[str, AccountStatus] = field(default_factory=dict, init=False)  # by account
    _database_usable: bool = field(default=False, init=False)

    def offline(self) -> None:
        """Check configuration, secrets and database."""
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
            findings.add_error("configuration", error)
        else:
            series = sum(map(series_count, settings.accounts.values()))
            source = settings.source or "the environment"
            findings.add(Finding("configuration", f"{source}: accounts: {len(settings.accounts)}, series: {series}"))
        for line in config.warnings(settings):
            findings.add_error("permissions", ConfigError(line))

    def _check_database(self) -> None:
        database, findings = self.settings.database, self.findings
        try:
            target = parse(database.url, database.schema, config.database_password(self.settings, self.environ))
            refuse_pooled(target)
            state = schema_state_of(target)
            described = _describe(target, state, auto_migrate=database.auto_migrate)
            if state.fit is SchemaFit.HEAD:
                self._read_accounts()
        except HarvesterError as error:
            findings.add_error("database", error)
        else:
            self._database_usable = True
            findings.add(Finding("database", f"{target}: {described}"))

    def _read_accounts(self) -> None:
        """Read the stored state of every account."""
        database = self.settings.database
        password = config.database_password(self.settings, self.environ)
        with Reader(database.url, database.schema, password) as reader:
            self._stored = {status.identity.name: status for status in reader.accounts()}
        for name, found in self.findings.accounts.items():
            if (status := self._stored.get(name)) is not None and status.answered_at is not None:
                found.answer, found.answered_at = status.answer, status.answered_at

    def _check_password(self, account: Account) -> None:
        name = f"accounts.{account.name}.password"
        try:
            config.password(account.name, self.settings, self.environ)
        except ConfigError as error:
            self.findings.add_error(name, error, account.name)
        else:
            self.findings.add(Finding(name, "readable"), account.name)

    def _check_certificates(self, account: Account) -> None:
        if account.api.ca_file is not None:
            try:
                build_transport(account)
            except ConfigError as error:
                self.findings.add_error(f"accounts.{account.name}.api.ca_file", error, account.name)

    def _check_calendar(self, account: Account) -> None:
        if (stored := self._stored.get(account.name)) is None:
            return
        periods = {one.series.period for one in stored.series if one.coverage}
        for setting, problem in other_days(stored.identity, identity_of(account, self.settings), periods).items():
            self.findings.add_error(f"accounts.{account.name}.{setting}", ConfigError(problem), account.name)

    def _has_rows(self, account: Account) -> bool:
        status = self._stored.get(account.name)
        return status is not None and any(one.coverage for one in status.series)

    async def online(self) -> None:
        """Send one request per account, side by side. An account whose check is cancelled stays not `finished`."""
        if not self._database_usable:
            for name in self.findings.accounts:
                self._skip(name, "fix the database first")
            return
        database = build_database(self.settings, self.environ)
        slots = asyncio.Semaphore(self.settings.api.concurrency)
        try:
            await asyncio.gather(
                *(self._check_account(account, database, slots) for account in self.settings.accounts.values())
            )
        finally:
            await database.close()

    async def _check_account(self, account: Account, database: Database, slots: asyncio.Semaphore) -> None:
        """Check one account; an error is added to its findings and does not affect other accounts."""
        name, result = account.name, self.findings.accounts[account.name]
        if any(one.error for one in result.findings):
            self._skip(name, "fix the problems above first")
            return
        result.finished = False
        probe = Probe(
            account=account,
            settings=self.settings,
            environ=self.environ,
            database=database,
            clock=SystemClock(),
            slots=slots,
            notice=lambda text: self.notice(f"{name}: {text}"),
            detail=lambda text: self.detail(f"{name}: {text}"),
            weeks_matter=Period.WEEK in account.periods or not self._has_rows(account),
        )
        try:
            finding = await self._run_probe(probe)
        except HarvesterError as error:
            finding = Finding(_online(name), str(error), error)
        except Exception as error:  # noqa: BLE001 - a bug in one account must not stop the others
            finding = Finding(_online(name), f"a bug: {type(error).__name__}", error)
        finally:
            result.requests, result.held_by = probe.requests, probe.held_by
        result.finished = True
        self.findings.add(finding, name)

    async def _run_probe(self, probe: Probe) -> Finding:
        name = probe.account.name
        answer = await probe.run()
        if answer is not None:
            result = self.findings.accounts[name]
            result.answer, result.answered_at = answer, int(probe.clock.time())
            return Finding(_online(name), answer)
        await asyncio.to_thread(self._read_accounts)  # the holder may have received an answer since
        return Finding(_online(name), f"not sent: held by {probe.held_by}; {_newest_answer(self._stored[name])}")

    def _skip(self, account: str, reason: str) -> None:
        self.findings.add(Finding(_online(account), f"skipped: {reason}", skipped=True), account)


def run(check: Check, *, online: bool, on_second_interrupt: Callable[[], object]) -> None:
    """Run the check. The first SIGINT or SIGTERM ends it in order, the second calls `on_second_interrupt`."""
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


def _newest_answer(status: AccountStatus) -> str:
    """Return the state and the newest answer that the holder of the account recorded."""
    state = f"{status.state.value}: {status.reason}; " if status.state is not RecordedState.OK else ""
    if status.answered_at is None:
        return f"{state}it has received no answer yet"
    return f"{state}its answer of {utc_time(status.answered_at)}: {status.answer}"


def _describe(target: Target, state: SchemaState, *, auto_migrate: bool) -> str:
    """Return the state of the database as text.

    Raises:
        StoreError: no command could store into it.
    """
    if isinstance(target, SqliteTarget) or auto_migrate:
        refuse_unmigratable(target, state)
    else:
        refuse_unready(target, state)
    if isinstance(target, SqliteTarget):
        _refuse_unwritable(target.path)
    if state.fit is SchemaFit.HEAD:
        return f"at schema {state.revision}"
    if state.fit in {SchemaFit.EMPTY, SchemaFit.MISSING}:
        return "empty; the first run creates the tables"
    return f"at the older schema {state.revision}; the next run migrates it"


def _refuse_unwritable(path: Path) -> None:
    """Refuse a read-only file or directory: locks and the write-ahead log are created beside the file.

    Raises:
        StoreError: one of them is read-only.
    """
    for place in (path.parent, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise StoreError(f"{place} is read-only here; let this user write to the file and to its directory")
