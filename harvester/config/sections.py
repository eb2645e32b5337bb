"""Builds each section of the settings from the merged values, and checks what concerns several sections."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from harvester.config import database_url
from harvester.config.entries import SECRETS, Entry, Keys, Layer, Table, tables
from harvester.config.environment import variable
from harvester.config.problems import describe
from harvester.config.references import located, phones_of, secret_of
from harvester.config.setting_info import infos
from harvester.config.settings import Account, Api, Daemon, Database, Log, ProcessApi, Quota, Settings
from harvester.config.value_types import PasswordSources, Phone, Secret
from harvester.config.wording import hint
from harvester.core.model import ALL

T = TypeVar("T")

DEFAULT_DATABASE: Final = "sqlite:///voicetrends.db"
_NOWHERE: Final = "sqlite:////dev/null"  # stands in where the URL is wrong
_ELSEWHERE: Final = frozenset({"phones", "phones_file", *SECRETS})  # an account's keys that are read in their own way
_ANY: Final = (Phone(ALL),)  # stands in where the phones are wrong
_URLS: Final = ("url", "proxy")  # may hold a password
_PROCESS_API: Final = frozenset(infos(ProcessApi))


class Builder:
    """Turns two layers into Settings; a line for whatever is wrong is added to `problems`."""

    def __init__(self, files: Layer, environment: Layer, problems: list[str], *, base: Path, home: Path) -> None:
        self._files = files
        self._environment = environment
        self._merged = tables(files.entries | environment.entries)
        self._layers = (tables(environment.entries), tables(files.entries))
        self._problems = problems
        self._base = base  # of what is nowhere written
        self._home = home

    def build(self, source: Path | None) -> Settings:
        """Everything. Where something is wrong its default stands in its place, so that the rest is checked too."""
        self._check_defaults()
        names = dict.fromkeys([*self._files.accounts, *self._environment.accounts])
        built = [account for name in names if (account := self._account(name))]
        self._refuse_shared_logins(built)
        return Settings(
            source=source,
            database=self._database(),
            daemon=self._section(Daemon, "daemon", self._table(("daemon",))) or Daemon(),
            log=self._section(Log, "log", self._table(("log",))) or Log(),
            api=self._process_api(),
            accounts={account.name: account for account in built},
            holding_secrets=self._holding_secrets(),
        )

    def _table(self, *names: Keys) -> Table:
        """The values of some tables, a later one before an earlier."""
        table: Table = {}
        for name in names:
            table |= self._merged.get(name, {})
        return table

    def _section(self, model: type[T], label: str, table: Table, **ready: object) -> T | None:
        values: dict[str, Any] = {key: entry.value for key, entry in table.items()} | ready
        try:
            return model(**values)
        except ValidationError as error:
            self._problems += describe(error, table, lambda field: f"{label}.{field}")
            return None

    def _database(self) -> Database:
        table = self._table(("database",))
        url = table.get("url", Entry(DEFAULT_DATABASE, "database.url", self._base))
        placed = _NOWHERE
        try:
            written = url.value if isinstance(url.value, str) else ""
            placed = database_url.locate(written, base=url.base, home=self._home)
        except ValueError as error:
            self._problems.append(f"{url.place}: {error}")
        from_environment, from_files = self._secrets(("database",))
        password = PasswordSources(environment=from_environment, files=from_files)
        rest = {key: entry for key, entry in table.items() if key not in {"url", *SECRETS}}
        return self._section(Database, "database", rest, url=placed, password=password) or Database(url=_NOWHERE)

    def _process_api(self) -> ProcessApi:
        table = {key: entry for key, entry in self._table(("api",)).items() if key in _PROCESS_API}
        return self._section(ProcessApi, "api", table) or ProcessApi()

    def _api(self, *more: Keys) -> Api:
        table = {key: entry for key, entry in self._table(("api",), *more).items() if key not in _PROCESS_API}
        file = table.pop("ca_file", None)
        place = located(file, self._home, self._problems) if file else None
        if file and place and not place.is_file():
            self._problems.append(f"{file.place}: there is no file {place}")
        return self._section(Api, "api", table, ca_file=place) or Api()

    def _check_defaults(self) -> None:
        """Mistakes in [defaults] are told even where no account inherits them."""
        own = self._table(("defaults",))
        stand_in = {"name": "nobody"} if "login" in own else {"name": "nobody", "login": "nobody"}
        rest = {key: entry for key, entry in own.items() if key not in _ELSEWHERE}
        self._section(Account, "defaults", rest, **stand_in, phones=phones_of(own, self._home, self._problems) or _ANY)
        for more in ((), (("defaults", "api"),)):
            self._api(*more)
        for names in ((("quota",),), (("quota",), ("defaults", "quota"))):
            self._section(Quota, "quota", self._table(*names))

    def _account(self, name: str) -> Account | None:
        own = ("accounts", name)
        table = self._table(("defaults",), own)
        known = len(self._problems)
        phones = phones_of(table, self._home, self._problems)
        values: dict[str, Any] = {key: entry.value for key, entry in table.items() if key not in _ELSEWHERE}
        if phones or len(self._problems) > known:
            values["phones"] = phones or _ANY
        elif phones is not None:
            empty = table["phones" if "phones" in table else "phones_file"]
            self._problems.append(f"{empty.place}: names no phone")
            values["phones"] = _ANY
        try:
            return Account(
                name=name,
                api=self._api(("defaults", "api"), (*own, "api")),
                quota=self._quota(own),
                password=self._passwords(name),
                **values,
            )
        except ValidationError as error:
            self._problems += describe(error, table, lambda field: self._place_of_missing(name, field))
            return None

    def _quota(self, own: tuple[str, ...]) -> Quota:
        table = self._table(("quota",), ("defaults", "quota"), (*own, "quota"))
        return self._section(Quota, "quota", table) or Quota()

    def _passwords(self, name: str) -> PasswordSources:
        from_environment, from_files = self._secrets(("accounts", name))
        inherited = self._secrets(("defaults",))
        return PasswordSources(environment=from_environment, files=from_files or inherited[0] or inherited[1])

    def _secrets(self, name: Keys) -> tuple[Secret | None, Secret | None]:
        """What a table says of a password, in the environment and in the files."""
        environment, files = (secret_of(layer.get(name, {}), self._home, self._problems) for layer in self._layers)
        return environment, files

    def _place_of_missing(self, name: str, field: str) -> str:
        place = self._files.accounts.get(name)
        if place is None:  # a slip in a variable's name makes an account that nobody meant
            meant = hint(name, self._files.accounts)
            return variable(("accounts", name, field)) + (f" (account {name}{meant})" if meant else "")
        return f"{place}.{field}" if place.endswith(f"accounts.{name}") else f"{place}: {field}"

    def _refuse_shared_logins(self, accounts: Iterable[Account]) -> None:
        """Two accounts of one login would spend one quota, each in the belief that it is alone."""
        seen: dict[tuple[str, str], str] = {}
        for account in accounts:
            identity = (account.login.casefold(), account.api.base_url)
            other = seen.setdefault(identity, account.name)
            if other != account.name:
                self._problems.append(
                    f"accounts {other} and {account.name} have one login at one base_url, so they share one quota: "
                    "make them one account"
                )

    def _holding_secrets(self) -> tuple[Path, ...]:
        """The files in which a password stands."""
        found: dict[Path | None, None] = {}
        for keys, entry in self._files.entries.items():
            written = entry.value if isinstance(entry.value, str) else ""
            if keys[-1] == "password" or (keys[-1] in _URLS and database_url.holds_password(written)):
                found[entry.file] = None
        return tuple(file for file in found if file)
