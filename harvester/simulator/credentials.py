"""Who may ask: tools' credentials, and the temporary pairs that they are exchanged for.

A temporary pair dies a day after its last use; what a dead one belonged to stays known, so that a refused request
can still be counted against its account.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harvester.simulator.chance import octets

if TYPE_CHECKING:
    from harvester.simulator.options import Account, Pair


@dataclass(slots=True)
class _Pass:
    account: Account
    password: str = field(repr=False)
    used_at: float
    lasting: bool = False  # configured, not handed out: age does not kill it
    dead: bool = False


class Registry:
    """All credentials of the simulated company."""

    def __init__(self, accounts: Iterable[Account], *, seed: int, life: float, single: bool) -> None:
        self._accounts = {account.login: account for account in accounts}
        self._seed = seed
        self._life = life
        self._single = single
        self._passes: dict[str, _Pass] = {}
        self._issued: dict[str, int] = {}
        self._suspended: set[str] = set()
        for account in self._accounts.values():
            if account.direct:
                self._passes[account.login] = _Pass(account, account.password, 0.0, lasting=True)

    def exchange(self, tool: str, login: str, password: str, at: float) -> Pair | None:
        """A temporary pair for a tool's credentials, or None if these are wrong."""
        account = self._accounts.get(login)
        if account is None or account.direct or account.name in self._suspended:
            return None
        if tool != account.tool or not _same(password, account.password):
            return None
        if self._single:
            self.expire(account.name)
        number = self._issued.get(account.name, 0)
        self._issued[account.name] = number + 1
        pair = account.pairs[number] if number < len(account.pairs) else self._made_up(account, number)
        self._passes[pair[0]] = _Pass(account, pair[1], at)
        return pair

    def holder(self, login: str, password: str, at: float) -> tuple[Account | None, bool]:
        """Whose pair this is, and whether it still opens. Asking with a living one keeps it alive."""
        found = self._passes.get(login)
        if found is None or not _same(password, found.password):
            return None, False
        if found.dead or (not found.lasting and at - found.used_at > self._life):
            found.dead = True
            return found.account, False
        if found.account.name in self._suspended:
            return found.account, False
        found.used_at = max(found.used_at, at)
        return found.account, True

    def expire(self, name: str | None = None) -> None:
        """Kill the pairs handed out to one account, or to all."""
        for found in self._passes.values():
            if not found.lasting and name in {None, found.account.name}:
                found.dead = True

    def suspend(self, name: str) -> None:
        """Make an account inactive: everything it has is refused."""
        self._suspended.add(name)

    def resume(self, name: str) -> None:
        """Make it active again."""
        self._suspended.discard(name)

    def _made_up(self, account: Account, number: int) -> Pair:
        digits = octets(32, self._seed, "pair", account.name, number).hex()
        return digits[:32], digits[32:]


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())
