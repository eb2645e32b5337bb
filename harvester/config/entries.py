"""Values with their places: the form into which files and environment are parsed before they are merged.

A path is a tuple of keys, such as ("accounts", "main", "api", "timeout"). The keys that exist follow from the fields of
the settings. Any other key is reported here, with the nearest known one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harvester.config import checks
from harvester.config.setting_info import Scope, infos
from harvester.config.settings import Account, Api, Daemon, Database, Log, ProcessApi, Quota
from harvester.config.wording import hint, quoted

Keys = tuple[str, ...]
Table = dict[str, "Entry"]  # the values of one table, without its sub-tables
Tree = dict[str, "Tree | None"]  # the keys below a key; None for the key of a value

ANY: Final = "*"  # in a Tree: a name that the user chooses
SECRETS: Final = ("password", "password_file", "password_command")
LISTS: Final = frozenset({"phones", "resources", "periods", "allowed_hosts", "password_command"})


def _keys_of(*sections: type, scopes: Collection[Scope] = frozenset(Scope)) -> Tree:
    found = [pair for section in sections for pair in infos(section).items()]
    return dict.fromkeys(key for name, info in found if info.scope in scopes for key in (name, *info.more))


_OF_ACCOUNT: Final = frozenset({Scope.ACCOUNT})
ACCOUNT: Final[Tree] = {
    **_keys_of(Account, scopes=_OF_ACCOUNT),
    "api": _keys_of(Api, scopes=_OF_ACCOUNT),
    "quota": _keys_of(Quota, scopes=_OF_ACCOUNT),
}
del ACCOUNT["name"]  # the table's own name
KNOWN: Final[Tree] = {
    "database": _keys_of(Database),
    "api": _keys_of(Api, ProcessApi),
    "quota": _keys_of(Quota),
    "daemon": _keys_of(Daemon),
    "log": _keys_of(Log),
    "defaults": ACCOUNT,
    "accounts": {ANY: ACCOUNT},
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as it was written."""

    value: object
    place: str  # for messages: "config.toml:12: api.timeout", or the name of a variable
    base: Path  # directory of relative paths
    file: Path | None = None  # None for the environment


@dataclass(slots=True)
class Layer:
    """Content of one source: its values, and the place of each account that it names."""

    entries: dict[Keys, Entry]
    accounts: dict[str, str]

    @classmethod
    def empty(cls) -> Layer:
        """Return a layer without values and accounts."""
        return cls({}, {})


def dotted(keys: Keys) -> str:
    """Return a path of keys in TOML's notation."""
    return ".".join(keys)


def tables(entries: Mapping[Keys, Entry]) -> dict[Keys, Table]:
    """Return the values grouped by their table."""
    found: dict[Keys, Table] = {}
    for keys, entry in entries.items():
        found.setdefault(keys[:-1], {})[keys[-1]] = entry
    return found


def leaves(tree: Tree, prefix: Keys = ()) -> Iterator[Keys]:
    """Yield the path of every value that the tree allows."""
    for key, below in tree.items():
        if below is None:
            yield (*prefix, key)
        else:
            yield from leaves(below, (*prefix, key))


@dataclass(frozen=True, slots=True)
class TableParser:
    """Parser of TOML tables into a layer."""

    layer: Layer
    problems: list[str]
    place: Callable[[Keys], str]
    entry: Callable[[object, str], Entry]

    def table(self, values: Mapping[str, object], tree: Tree, prefix: Keys = ()) -> None:
        """Add a table and those below it to the layer. `prefix` is its path in the whole configuration."""
        for key, value in values.items():
            self._key((*prefix, key), value, tree)

    def account(self, name: str, values: Mapping[str, object]) -> None:
        """Add the table of an account to the layer."""
        place = self.place(("accounts", name))
        try:
            checks.account_name(name)
        except ValueError as error:
            self.problems.append(f"{place}: {error}")
            return
        self.layer.accounts[name] = place
        self.table(values, ACCOUNT, ("accounts", name))

    def _key(self, keys: Keys, value: object, tree: Tree) -> None:
        key = keys[-1]
        if key not in tree and ANY not in tree:
            self.problems.append(f"{self.place(keys)}: {_unknown(keys, tree)}")
            return
        below = tree.get(key, tree.get(ANY))
        if below is None:
            if isinstance(value, dict):
                self.problems.append(f"{self.place(keys)}: must be a value, not a table")
            else:
                self.layer.entries[keys] = self.entry(value, self.place(keys))
        elif not isinstance(value, dict):
            self.problems.append(f"{self.place(keys)}: must be a table: [{dotted(keys)}]")
        elif key in tree:
            self.table(value, below, keys)
        else:
            self.account(key, value)


def _process_table(keys: Keys) -> str | None:
    """Return the table that has, for the whole process, what was written as a key of an account; None if none has."""
    start = {"accounts": 2, "defaults": 1}.get(keys[0], 0)
    table, *key = keys[start:] or ("",)
    known = None if table in {"accounts", "defaults"} else KNOWN.get(table)
    return table if start and known and all(each in known for each in key) else None


def _unknown(keys: Keys, tree: Tree) -> str:
    key = keys[-1]
    if home := _process_table(keys):
        return f"{key} is for the whole process; set it in [{home}]"
    close = hint(key, tree)
    if not close:
        homes = [dotted(path[:-1]) for path in leaves(KNOWN) if path[-1] == key and ANY not in path]
        close = f"; it belongs in [{homes[-1]}]" if homes else ""
    what = "table" if len(keys) == 1 else "key"
    return f"unknown {what} {quoted(key)}{close or '; known here: ' + ', '.join(tree)}"
