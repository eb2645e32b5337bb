"""HARVESTER_* variables: each sets one key, whose tables are separated by two underscores.

Variables are in upper case and cannot contain a hyphen: ACCOUNTS__MY_SITE is the account `my-site` or `my_site`,
whichever the files define; if they define neither, it is a new account `my_site`. Lists are comma-separated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from harvester.config import checks
from harvester.config.entries import ACCOUNT, ANY, KNOWN, LISTS, Entry, Keys, Layer, leaves
from harvester.config.wording import nearest

PREFIX: Final = "HARVESTER_"
FILE: Final = "HARVESTER_CONFIG"
SIMULATE_PASSWORD: Final = "HARVESTER_SIMULATE_PASSWORD"  # noqa: S105 - the name of a variable
_NO_SETTINGS: Final = frozenset({FILE, SIMULATE_PASSWORD})
_ACCOUNTS: Final = "ACCOUNTS__"
_DEFAULTS: Final = "DEFAULTS__"
# Kubernetes sets such variables in every container for a service named "harvester" or "harvester-...". No setting has
# such a name, but a mistyped one might, so the value must be one of Kubernetes, too.
_SERVICE_LINK: Final = re.compile(
    r"HARVESTER_(?:[A-Z0-9_]+_)??"
    r"(?:SERVICE_HOST=[0-9a-fA-F.:]+"
    r"|SERVICE_PORT(?:_\w+)?=[0-9]+"
    r"|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP))?=(?:tcp|udp|sctp)://.*"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR)=.*)"
)


def variable(keys: Keys) -> str:
    """Return the name of the variable that sets a key."""
    return PREFIX + "__".join(key.upper().replace("-", "_") for key in keys)


_PLAIN: Final = {variable(keys): keys for keys in leaves(KNOWN) if ANY not in keys}
_OF_ACCOUNT: Final = {variable(keys).removeprefix(PREFIX): keys for keys in leaves(ACCOUNT)}


def settings_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are settings."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX) and name not in _NO_SETTINGS and not _SERVICE_LINK.fullmatch(f"{name}={value}")
    }


def read_environment(environ: Mapping[str, str], accounts: Iterable[str], cwd: Path, problems: list[str]) -> Layer:
    """Return the values that the environment sets.

    Args:
        environ: all variables.
        accounts: the names of the accounts that the files define.
        cwd: directory of relative paths.
        problems: receives a line for each mistake.
    """
    layer = Layer.empty()
    names = _VariableNames(accounts)
    for name, value in settings_in(environ).items():
        try:
            keys = _PLAIN[name] if name in _PLAIN else names.keys(name.removeprefix(PREFIX))
        except ValueError as error:
            problems.append(f"{name}: {error}")
            continue
        layer.entries[keys] = Entry(_value(keys, value), name, cwd)
        if keys[0] == "accounts":
            layer.accounts.setdefault(keys[1], variable(keys[:2]))
    return layer


class _VariableNames:
    """Parser of the names of variables, which knows the accounts that the files define."""

    def __init__(self, accounts: Iterable[str]) -> None:
        self._accounts: dict[str, list[str]] = {}
        for name in accounts:
            self._accounts.setdefault(name.upper().replace("-", "_"), []).append(name)

    def keys(self, name: str) -> Keys:
        """Return the path that the name of a variable, without the prefix, means."""
        if not name.startswith(_ACCOUNTS):
            raise ValueError(_process_wide(name.removeprefix(_DEFAULTS)) or _unknown(PREFIX + name, [*_PLAIN, FILE]))
        rest = name.removeprefix(_ACCOUNTS)
        # From the end, because the name of an account may end with an underscore, and no key begins with one.
        for end, keys in sorted(_OF_ACCOUNT.items(), key=lambda pair: len(pair[0]), reverse=True):
            if rest.endswith("__" + end) and "__" not in (account := rest.removesuffix("__" + end)):
                return ("accounts", self._account(account), *keys)
        account, _, key = rest.partition("__")
        raise ValueError(_process_wide(key) or _unknown(key, _OF_ACCOUNT, f"{PREFIX}{_ACCOUNTS}{account}__"))

    def _account(self, written: str) -> str:
        matching = self._accounts.get(written, [])
        if len(matching) > 1:
            raise ValueError(f"could mean any of the accounts {', '.join(matching)}: rename one")
        if matching:
            return matching[0]
        if written != written.upper():
            raise ValueError("must be written in upper case")
        return checks.account_name(written.lower())


def _process_wide(key: str) -> str | None:
    """Return the refusal of an account's key that only the process has, None if it is no such key."""
    keys = _PLAIN.get(PREFIX + key)
    if keys is None or keys[0] == "defaults":
        return None
    return f"{keys[-1]} is for the whole process; set {PREFIX}{key}"


def _unknown(word: str, known: Iterable[str], before: str = "") -> str:
    found = nearest(word.upper(), known)
    if found:
        return f"unknown setting; did you mean {before}{found}?"
    return "unknown setting; see config.example.toml; the variable of `timeout` in [api] is HARVESTER_API__TIMEOUT"


def _value(keys: Keys, text: str) -> object:
    if keys[-1] not in LISTS:
        return text
    return [item.strip() for item in text.split(",") if item.strip()]
