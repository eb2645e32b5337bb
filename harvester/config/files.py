"""Configuration files: where they are looked for, whether one may be trusted, and what is in them."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

from harvester.config.entries import KNOWN, Entry, Keys, Layer, Walk, dotted

_MOST_BYTES = 16 * 1024 * 1024
_GROUP_WRITES, _OTHERS_WRITE = stat.S_IWGRP, stat.S_IWOTH
_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_HEADER = re.compile(rf"\s*\[\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]\s*(?:#.*)?")
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")


class Unreadable(Exception):
    """A file that cannot be read; the argument says why, in one line without the file's name."""


def read_text(path: Path) -> str:
    """The text of a file; a byte order mark is taken off.

    Raises:
        Unreadable: whatever is in the way.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or type(error).__name__}") from None
    except ValueError:
        raise Unreadable("cannot be read: its name holds a NUL") from None
    if len(content) > _MOST_BYTES:
        raise Unreadable("is far too big")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"line {line} is not UTF-8 text") from None


def read_layer(path: Path, problems: list[str], *, account: str | None = None) -> Layer:
    """What a file says.

    Args:
        path: the file.
        problems: gets a line for each mistake.
        account: the name of the one account that the whole file describes, else None.

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

    walk = Walk(layer, problems, place, lambda value, where: Entry(value, where, path.parent, path))
    if account is None:
        walk.table(table, KNOWN)
    else:
        walk.account(account, table)
    return layer


def account_files(source: Path, problems: list[str]) -> Iterator[Path]:
    """The files of accounts.d beside the configuration, by name. Hidden ones are an editor's, not ours."""
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


def distrust(path: Path) -> str | None:
    """Why somebody else could have written a file that nobody named, with the mend; None if nobody could.

    A configuration may name a command to run, so a file that merely lies in the current directory must be ours
    or root's, and so must the directory. A link is judged at both its ends.
    """
    for place in dict.fromkeys((path, path.resolve())):
        for each in (place, place.parent):
            try:
                reason = _writers(each.stat())
            except OSError as error:
                return f"{each}: cannot be read: {error.strerror or type(error).__name__}"
            if reason:
                return f"{each}: {reason}, or name the file with --config if you trust it"
    return None


def _writers(status: os.stat_result) -> str | None:
    mode, owner = status.st_mode, status.st_uid
    if owner not in {0, os.geteuid()}:
        return "belongs to somebody else, who could have it run commands: take it over with chown"
    if mode & _OTHERS_WRITE or (mode & _GROUP_WRITES and not is_private_group(status.st_gid, owner)):
        return "others may write it, and have it run commands: chmod go-w"
    return None


def is_private_group(gid: int, uid: int) -> bool:
    """Whether a group has no member but this user: many systems give everybody such a group, and umask 002."""
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
        raise Unreadable("is not TOML that could be a configuration") from None


def _lines(text: str) -> dict[Keys, int]:
    """On which line a key or a table is first written, as far as a look at the lines' beginnings tells."""
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
