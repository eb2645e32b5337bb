"""Passwords in use, so that a reload knows which of them have changed. Only their keyed digests are held."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

from harvester.config import Settings


class Loaded(NamedTuple):
    """Configuration and passwords as a reload has read them."""

    settings: Settings
    passwords: Mapping[str, str]  # by account


class Passwords:
    """Digests of the passwords that the workers have read, by account."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._used: dict[str, bytes] = {}

    def note(self, account: str, password: str) -> str:
        """Note a password that is used from now on, and return it."""
        self._used[account] = self._digest(password)
        return password

    def changed(self, found: Mapping[str, str]) -> set[str]:
        """Return the accounts that use another password than the one found.

        An account that has used none is not among them: it will read the new one.
        """
        return {
            account
            for account, password in found.items()
            if self._used.get(account) not in (None, self._digest(password))
        }

    def _digest(self, password: str) -> bytes:
        return blake2b(password.encode(), key=self._key).digest()
