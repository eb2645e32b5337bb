"""Keys that refer to files or commands: phone files, CA files, password files, password commands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from harvester.config import phones
from harvester.config.database_url import expand_home
from harvester.config.entries import SECRETS, Entry
from harvester.config.files import Unreadable, read_text
from harvester.config.value_types import Phone, Secret


def located(entry: Entry, home: Path, problems: list[str]) -> Path | None:
    """Return the absolute path that an entry names, None if it names none. Relative paths start at the entry's base."""
    if not isinstance(entry.value, str):
        problems.append(f"{entry.place}: must be a path, in quotes")
    elif "\0" in entry.value:
        problems.append(f"{entry.place}: a path cannot contain a NUL")
    elif entry.value:
        return entry.base / expand_home(entry.value, home)
    return None


def phones_of(table: Mapping[str, Entry], home: Path, problems: list[str]) -> tuple[Phone, ...] | None:
    """Return the phones of an account's table, from its list and its file; None if it has neither."""
    found: list[Phone] = []
    listed, filed = table.get("phones"), table.get("phones_file")
    if listed:
        found += _listed(listed, problems)
    if filed:
        found += _filed(filed, home, problems)
    try:
        merged = phones.merge(found)
    except ValueError as error:
        problems.append(f"{filed.place if filed else 'phones'}: {error}")
        return ()
    return merged if listed or filed else None


def _listed(entry: Entry, problems: list[str]) -> list[Phone]:
    if not isinstance(entry.value, list):
        problems.append(f'{entry.place}: must be a list, like ["ALL", "8005551234"]')
        return []
    found = []
    for number, written in enumerate(entry.value, 1):
        try:
            found.append(Phone(phones.normalize(written)))
        except ValueError as error:
            problems.append(f"{entry.place}[{number}]: {error}")
    return found


def _filed(entry: Entry, home: Path, problems: list[str]) -> list[Phone]:
    path = located(entry, home, problems)
    if path is None:
        return []
    try:
        text = read_text(path)
    except Unreadable as error:
        problems.append(f"{entry.place}: {path} {error}")
        return []
    found = []
    for number, phone in phones.read_lines(text):
        if isinstance(phone, Phone):
            found.append(phone)
        else:
            problems.append(f"{path}:{number}: {phone}")
    return found


def secret_of(table: Mapping[str, Entry], home: Path, problems: list[str]) -> Secret | None:
    """Return the place of the password according to one table of one source, None if it has none. Nothing is read."""
    given = [(key, table[key]) for key in SECRETS if key in table]
    if not given:
        return None
    key, entry = given[0]
    if len(given) > 1:
        problems.append(f"{given[1][1].place}: give one of {', '.join(SECRETS)}, not {len(given)}")
        return None
    if key == "password_command":
        return _command(entry, problems)
    if key == "password_file":
        path = located(entry, home, problems)
        if entry.value == "":
            problems.append(f"{entry.place}: must not be empty")
        return Secret(place=entry.place, file=path) if path else None
    if not isinstance(entry.value, str):
        problems.append(f"{entry.place}: must be text, in quotes")
        return None
    return Secret(place=entry.place, value=SecretStr(entry.value))


def _command(entry: Entry, problems: list[str]) -> Secret | None:
    words = entry.value
    good = isinstance(words, list) and words and all(isinstance(word, str) and "\0" not in word for word in words)
    if not good or not isinstance(words, list) or not words[0]:
        problems.append(f'{entry.place}: must be a list of a program and its arguments, like ["pass", "show", "plum"]')
        return None
    return Secret(place=entry.place, command=tuple(words), directory=entry.base)
