"""Registry of credentials: the tools' logins, and the temporary pairs that they are exchanged for.

A temporary pair expires a day after its last use. The account of an expired pair stays known, so that a refused request
counts against the quota of that account.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from harvester.simulator.chance import octets
from harvester.simulator.options import Account, Pair


@dataclass(slots=True)
class KnownPair:
    """Credentials of the data resources, valid or expired."""

    account: Account
    password: str = field(repr=False)
    used_at: float
    permanent: bool = False  # configured, not issued: it does not expire
    expired: bool = False


class Registry:
    """All credentials of the simulated company.

    Args:
        accounts: its customers.
        seed: of the issued pairs.
        lifetime: seconds after its last use in which a temporary pair is valid.
        single: a new pair ends the account's old ones.
    """

    def __init__(self, accounts: Iterable[Account], *, seed: int, lifetime: float, single: bool) -> None:
        self._accounts = {account.login: account for account in accounts}
        self._seed = seed
        self._lifetime = lifetime
        self._single = single
        self.pairs: dict[str, KnownPair] = {}
        self._issued: dict[str, int] = {}
        self._suspended: set[str] = set()
        for account in self._accounts.values():
            if account.direct:
                self.pairs[account.login] = KnownPair(account, account.password, 0.0, permanent=True)

    def exchange(self, tool: str, login: str, password: str, at: float) -> Pair | None:
        """Return a temporary pair for a tool's credentials; None if these are wrong."""
        account = self._accounts.get(login)
        if account is None or account.direct or account.name in self._suspended:
            return None
        if tool != account.tool or not _same(password, account.password):
            return None
        if self._single:
            self.expire(account.name)
        number = self._issued.get(account.name, 0)
        self._issued[account.name] = number + 1
        pair = account.pairs[number] if number < len(account.pairs) else self._new_pair(account, number)
        self.pairs[pair[0]] = KnownPair(account, pair[1], at)
        return pair

    def authorize(self, login: str, password: str, at: float) -> tuple[Account | None, bool]:
        """Return the account of a pair, and whether the pair is valid. This counts as a use of the pair."""
        found = self.pairs.get(login)
        if found is None or not _same(password, found.password):
            return None, False
        if found.expired or (not found.permanent and at - found.used_at > self._lifetime):
            found.expired = True
            return found.account, False
        if found.account.name in self._suspended:
            return found.account, False
        found.used_at = max(found.used_at, at)
        return found.account, True

    def expire(self, name: str | None = None) -> None:
        """Expire the temporary pairs of one account, or of all."""
        for found in self.pairs.values():
            if not found.permanent and name in {None, found.account.name}:
                found.expired = True

    def suspend(self, name: str) -> None:
        """Make an account inactive: all its credentials are refused."""
        self._suspended.add(name)

    def resume(self, name: str) -> None:
        """Make an account active again."""
        self._suspended.discard(name)

    def _new_pair(self, account: Account, number: int) -> Pair:
        digits = octets(32, self._seed, "pair", account.name, number).hex()
        return digits[:32], digits[32:]


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())
