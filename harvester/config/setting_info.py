"""Metadata of a setting: what it means, whom it applies to, and how a running daemon handles a change.

Every field of a section in `settings` carries a SettingInfo in its annotation. Everything that depends on a key
comes from there: which keys a table knows, which of them an account may override, which changes a SIGHUP applies,
docs/reference.md, and the comments of config.example.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

_BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}  # attributes of pydantic's bounds


class Scope(StrEnum):
    """Extent to which a value of a setting applies."""

    PROCESS = "process"  # one value for everything; accounts cannot override it
    ACCOUNT = "account"  # each account may have its own


class Reload(StrEnum):
    """Way in which a running daemon handles a change."""

    LIVE = "live"  # SIGHUP applies it
    RESTART = "restart"  # the value of the start stays in use until the process starts again


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """Description of one field.

    `more` has the other keys that set the same field, each with its meaning: `password_file` sets `password`.
    """

    meaning: str
    scope: Scope
    reload: Reload
    unit: str = ""
    more: Mapping[str, str] = field(default_factory=dict, hash=False)


def infos(section: type) -> dict[str, SettingInfo]:
    """Return the description of each field of a section that has one."""
    return {name: info for name, extras in _extras(section).items() for info in extras if isinstance(info, SettingInfo)}


def texts(section: type) -> dict[str, str]:
    """Return the full description of each key of a section: meaning, values, unit and bounds, as sentences."""
    hints = get_type_hints(section)
    found = {}
    for name, info in infos(section).items():
        sentences = (info.meaning, _values(hints[name]), _bounds(_extras(section)[name], info.unit))
        found[name] = " ".join(sentence for sentence in sentences if sentence)
        found |= info.more
    return found


def _extras(section: type) -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(section, include_extras=True)
    return {item.name: getattr(hints[item.name], "__metadata__", ()) for item in fields(section)}


def _values(hint: object) -> str:
    """Return the sentence that lists the values of a Literal or an enumeration."""
    values = [f'"{value}"' for value in _choices(hint)]
    return f"Values: {', '.join(values)}." if values else ""


def _choices(hint: object) -> list[str]:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return [member.value for member in hint]
    parts = get_args(hint)
    if get_origin(hint) is Literal:
        return list(parts)
    return [choice for part in parts for choice in _choices(part)]


def _bounds(extras: tuple[object, ...], unit: str) -> str:
    """Return the sentence that gives unit and bounds of a number."""
    bounds = [bound for extra in extras if isinstance(extra, FieldInfo) for bound in extra.metadata]
    limits = [
        f"{words} {getattr(bound, name)}" for bound in bounds for name, words in _BOUNDS.items() if hasattr(bound, name)
    ]
    sentence = ", ".join(filter(None, (unit, " and ".join(limits))))
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""
