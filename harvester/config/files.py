"""Configuration files: reading, parsing, and the check that no other user can write them."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

from harvester.config.entries import KNOWN, Entry, Keys, Layer, TableParser, dotted

_MAX_BYTES = 16 * 1024 * 1024
_GROUP_WRITES, _OTHERS_WRITE = stat.S_IWGRP, stat.S_IWOTH
_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_HEADER = re.compile(rf"\s*\[\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]\s*(?:#.*)?")
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")


class Unreadable(Exception):
    """A file cannot be read; the argument is the reason, one line without the name of the file."""


def read_text(path: Path) -> str:
    """Return the text of a file without its byte order mark.

    Raises:
        Unreadable: the file is missing, not readable, too large or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or type(error).__name__}") from None
    except ValueError:
        raise Unreadable("cannot be read: its name contains a NUL") from None
    if len(content) > _MAX_BYTES:
        raise Unreadable(f"is larger than {_MAX_BYTES // 1024**2} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"line {line} is not UTF-8 text") from None


def read_layer(path: Path, problems: list[str], *, account: str | None = None) -> Layer:
    """Return the values of a configuration file.

    Args:
        path: the file.
        problems: receives a line for each mistake.
        account: the name of the account if the whole file describes one, else None.

    Raises:
        Unreadable: the file cannot be read, or is not TOML.
    """
    layer = Layer.empty()
    text = read_text(path)
    table = _parse(text)
    prefix: Keys = () if account is None else ("accounts", account)
    lines = _lines(text)

    def place(keys: Keys) -> str:
        inner = keys[len(prefix) :]
        line = next((lines[inner[:end]] for end in range(len(inner), 0, -1) if inner[:end] in lines), None)
        where = f"{path}:{line}" if line else str(path)
        return f"{where}: {dotted(inner)}" if inner else where

    parser = TableParser(layer, problems, place, lambda value, where: Entry(value, where, path.parent, path))
    if account is None:
        parser.table(table, KNOWN)
    else:
        parser.account(account, table)
    return layer


def account_files(source: Path, problems: list[str]) -> Iterator[Path]:
    """Yield the files of accounts.d beside the configuration, by name; not the hidden ones, which editors write."""
    directory = source.parent / "accounts.d"
    try:
        found = sorted(directory.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        problems.append(f"{directory}: cannot be read: {error.strerror or type(error).__name__}")
        return
    for file in found:
        if file.suffix == ".toml" and not file.name.startswith("."):
            yield file


def untrusted(path: Path) -> str | None:
    """Return the reason why another user could have written a file, with the remedy; None if none could.

    A configuration may name a command to run. So a file that is only found, not named by the user, must belong to the
    user or root and be writable for no one else, and its directory as well. Of a link, both ends are checked.
    """
    for place in dict.fromkeys((path, path.resolve())):
        for each in (place, place.parent):
            try:
                reason = _writers(each.stat())
            except OSError as error:
                return f"{each}: cannot be read: {error.strerror or type(error).__name__}"
            if reason:
                return f"{each}: {reason}, or name the file by --config if you trust it"
    return None


def _writers(status: os.stat_result) -> str | None:
    mode, owner = status.st_mode, status.st_uid
    if owner not in {0, os.geteuid()}:
        return "belongs to another user, who could make it run commands: change the owner with chown"
    if mode & _OTHERS_WRITE or (mode & _GROUP_WRITES and not is_private_group(status.st_gid, owner)):
        return "other users can write it and make it run commands: run chmod go-w on it"
    return None


def is_private_group(gid: int, uid: int) -> bool:
    """Return True if the user is the only member of the group: many systems give each user one, and umask 002."""
    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_gid == gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _parse(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(f"is not TOML: {error}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, tables nested without end
        raise Unreadable("is TOML that cannot be a configuration") from None


def _lines(text: str) -> dict[Keys, int]:
    """Return the number of the first line of each key and table, found by the beginnings of the lines."""
    found: dict[Keys, int] = {}
    table: Keys = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            table = _split(header[1])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_split(key[1])), number)
    return found


def _split(keys: str) -> Keys:
    return tuple(part.strip("\"'") for part in re.findall(_PART, keys))
