"""Values that settings are made of: addresses, phones, and the places where a password is."""

# pydantic reads these annotations at run time: no `from __future__ import annotations` here.
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr


class Address(NamedTuple):
    """Host and port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Phone:
    """Number as the API writes it (digits alone, or "ALL"), and the name that the user gave it."""

    number: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Place of a password according to one source; exactly one of `value`, `file` and `command` is given.

    `place` is for messages. Two secrets are equal wherever they are written, for a line that was inserted above one of
    them changes no setting.
    """

    place: str = field(compare=False)
    value: SecretStr | None = field(default=None, repr=False)
    file: Path | None = None
    command: tuple[str, ...] | None = field(default=None, repr=False)
    directory: Path | None = None  # where `command` runs


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordSources:
    """Places of one password; systemd's credentials rank between the two."""

    environment: Secret | None = None
    files: Secret | None = None
