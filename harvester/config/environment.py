"""HARVESTER_* variables: each names one key, its tables separated by two underscores.

Variables are upper case and know no hyphen: ACCOUNTS__MY_SITE is the account `my-site` or `my_site`, whichever
the files define; where they define neither it is a new one, `my_site`. Lists are comma-separated.
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
_ACCOUNTS: Final = "ACCOUNTS__"
_DEFAULTS: Final = "DEFAULTS__"
# Kubernetes gives every container such variables for a service that is called "harvester".
_SERVICE_LINK: Final = re.compile(r"HARVESTER_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")


def variable(keys: Keys) -> str:
    """The variable that sets a key."""
    return PREFIX + "__".join(key.upper().replace("-", "_") for key in keys)


_PLAIN: Final = {variable(keys): keys for keys in leaves(KNOWN) if ANY not in keys}
_OF_ACCOUNT: Final = {variable(keys).removeprefix(PREFIX): keys for keys in leaves(ACCOUNT)}


def settings_in(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are meant as settings, the choice of the file left out."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX) and name != FILE and not _SERVICE_LINK.fullmatch(name)
    }


def read_environment(environ: Mapping[str, str], accounts: Iterable[str], cwd: Path, problems: list[str]) -> Layer:
    """What the environment says.

    Args:
        environ: all variables.
        accounts: the names that files define.
        cwd: what relative paths are relative to.
        problems: gets a line for each mistake.
    """
    layer = Layer.empty()
    known = _Names(accounts)
    for name, value in settings_in(environ).items():
        try:
            keys = _PLAIN[name] if name in _PLAIN else known.keys(name.removeprefix(PREFIX))
        except ValueError as error:
            problems.append(f"{name}: {error}")
            continue
        layer.entries[keys] = Entry(_value(keys, value), name, cwd)
        if keys[0] == "accounts":
            layer.accounts.setdefault(keys[1], variable(keys[:2]))
    return layer


class _Names:
    """Which account a variable means."""

    def __init__(self, accounts: Iterable[str]) -> None:
        self._accounts: dict[str, list[str]] = {}
        for name in accounts:
            self._accounts.setdefault(name.upper().replace("-", "_"), []).append(name)

    def keys(self, name: str) -> Keys:
        """The path that a variable's name, without the prefix, spells."""
        if not name.startswith(_ACCOUNTS):
            raise ValueError(_process_wide(name.removeprefix(_DEFAULTS)) or _unknown(PREFIX + name, [*_PLAIN, FILE]))
        rest = name.removeprefix(_ACCOUNTS)
        # From the end: a name may end with an underscore, no key begins with one.
        for end, keys in sorted(_OF_ACCOUNT.items(), key=lambda pair: len(pair[0]), reverse=True):
            if rest.endswith("__" + end) and "__" not in (account := rest.removesuffix("__" + end)):
                return ("accounts", self._account(account), *keys)
        account, _, key = rest.partition("__")
        raise ValueError(_process_wide(key) or _unknown(key, _OF_ACCOUNT, f"{PREFIX}{_ACCOUNTS}{account}__"))

    def _account(self, written: str) -> str:
        meant = self._accounts.get(written, [])
        if len(meant) > 1:
            raise ValueError(f"could mean any of the accounts {', '.join(meant)}: rename one")
        if meant:
            return meant[0]
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
    return "unknown setting; see config.example.toml: a key `timeout` of [api] is HARVESTER_API__TIMEOUT here"


def _value(keys: Keys, text: str) -> object:
    if keys[-1] not in LISTS:
        return text
    return [item.strip() for item in text.split(",") if item.strip()]
