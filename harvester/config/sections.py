"""Builder of the sections of the settings from the merged values, with the checks that concern several sections."""

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
from harvester.core.spender import spender_key

T = TypeVar("T")

DEFAULT_DATABASE: Final = "sqlite:///voicetrends.db"
_PLACEHOLDER_URL: Final = "sqlite:////dev/null"  # replaces an invalid URL, so that the rest is checked
_SPECIAL: Final = frozenset({"phones", "phones_file", *SECRETS})  # keys of an account that `references` reads
_PLACEHOLDER_PHONES: Final = (Phone(ALL),)  # replace invalid phones, so that the rest is checked
_URLS: Final = ("url", "proxy")  # may contain a password
_PROCESS_API: Final = frozenset(infos(ProcessApi))


class Builder:
    """Builder of Settings from two layers; it adds a line to `problems` for each mistake."""

    def __init__(self, files: Layer, environment: Layer, problems: list[str], *, base: Path, home: Path) -> None:
        self._files = files
        self._environment = environment
        self._merged = tables(files.entries | environment.entries)
        self._layers = (tables(environment.entries), tables(files.entries))
        self._problems = problems
        self._base = base  # directory of relative paths in defaults
        self._home = home

    def build(self, source: Path | None) -> Settings:
        """Return the settings. An invalid section is replaced by its defaults, so that the rest is checked too."""
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
        """Return the values of some tables; a later table takes precedence over an earlier one."""
        table: Table = {}
        for name in names:
            table |= self._merged.get(name, {})
        return table

    def _section(self, model: type[T], label: str, table: Table, **ready: object) -> T | None:
        """Return a section built from its table and values that are ready, None if it is invalid."""
        values: dict[str, Any] = {key: entry.value for key, entry in table.items()} | ready
        try:
            return model(**values)
        except ValidationError as error:
            self._problems += describe(error, table, lambda field: f"{label}.{field}")
            return None

    def _database(self) -> Database:
        table = self._table(("database",))
        url = table.get("url", Entry(DEFAULT_DATABASE, "database.url", self._base))
        placed = _PLACEHOLDER_URL
        try:
            written = url.value if isinstance(url.value, str) else ""
            placed = database_url.locate(written, base=url.base, home=self._home)
        except ValueError as error:
            self._problems.append(f"{url.place}: {error}")
        from_environment, from_files = self._secrets(("database",))
        password = PasswordSources(environment=from_environment, files=from_files)
        rest = {key: entry for key, entry in table.items() if key not in {"url", *SECRETS}}
        return self._section(Database, "database", rest, url=placed, password=password) or Database(
            url=_PLACEHOLDER_URL
        )

    def _process_api(self) -> ProcessApi:
        table = {key: entry for key, entry in self._table(("api",)).items() if key in _PROCESS_API}
        return self._section(ProcessApi, "api", table) or ProcessApi()

    def _api(self, *more: Keys) -> Api:
        table = {key: entry for key, entry in self._table(("api",), *more).items() if key not in _PROCESS_API}
        file = table.pop("ca_file", None)
        place = located(file, self._home, self._problems) if file else None
        if file and place and not place.is_file():
            self._problems.append(f"{file.place}: {place} does not exist")
        return self._section(Api, "api", table, ca_file=place) or Api()

    def _check_defaults(self) -> None:
        """Check [api], [quota] and [defaults] even if no account inherits from them."""
        own = self._table(("defaults",))
        required = {"name": "none"} if "login" in own else {"name": "none", "login": "none"}
        rest = {key: entry for key, entry in own.items() if key not in _SPECIAL}
        self._section(
            Account,
            "defaults",
            rest,
            **required,
            phones=phones_of(own, self._home, self._problems) or _PLACEHOLDER_PHONES,
        )
        for more in ((), (("defaults", "api"),)):
            self._api(*more)
        for names in ((("quota",),), (("quota",), ("defaults", "quota"))):
            self._section(Quota, "quota", self._table(*names))

    def _account(self, name: str) -> Account | None:
        own = ("accounts", name)
        table = self._table(("defaults",), own)
        known = len(self._problems)
        phones = phones_of(table, self._home, self._problems)
        values: dict[str, Any] = {key: entry.value for key, entry in table.items() if key not in _SPECIAL}
        if phones or len(self._problems) > known:
            values["phones"] = phones or _PLACEHOLDER_PHONES
        elif phones is not None:
            empty = table["phones" if "phones" in table else "phones_file"]
            self._problems.append(f"{empty.place}: contains no phone")
            values["phones"] = _PLACEHOLDER_PHONES
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
        """Return the places of a password according to one table, in the environment and in the files."""
        environment, files = (secret_of(layer.get(name, {}), self._home, self._problems) for layer in self._layers)
        return environment, files

    def _place_of_missing(self, name: str, field: str) -> str:
        place = self._files.accounts.get(name)
        if place is None:  # a variable with a misspelt name creates an account
            nearest = hint(name, self._files.accounts)
            return variable(("accounts", name, field)) + (f" (account {name}{nearest})" if nearest else "")
        return f"{place}.{field}" if place.endswith(f"accounts.{name}") else f"{place}: {field}"

    def _refuse_shared_logins(self, accounts: Iterable[Account]) -> None:
        """Refuse two accounts with one login at one URL: they would spend one quota without counting each other."""
        seen: dict[str, str] = {}
        for account in accounts:
            other = seen.setdefault(spender_key(account.api.base_url, account.login), account.name)
            if other != account.name:
                self._problems.append(
                    f"accounts {other} and {account.name} have one login at one base_url, so they share one quota: "
                    "make them one account"
                )

    def _holding_secrets(self) -> tuple[Path, ...]:
        """Return the files that contain a password."""
        found: dict[Path | None, None] = {}
        for keys, entry in self._files.entries.items():
            written = entry.value if isinstance(entry.value, str) else ""
            if keys[-1] == "password" or (keys[-1] in _URLS and database_url.holds_password(written)):
                found[entry.file] = None
        return tuple(file for file in found if file)
