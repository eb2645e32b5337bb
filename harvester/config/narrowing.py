"""Filters: the part of the configuration that a command was asked to work on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harvester.config.phones import normalize
from harvester.config.wording import hint, shown
from harvester.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from harvester.config.settings import Account, Settings


def require_accounts(settings: Settings) -> None:
    """For commands that have nothing to do without one.

    Raises:
        ConfigError: no account is configured.
    """
    if not settings.accounts:
        place = f"{settings.source}: " if settings.source else ""
        raise ConfigError(
            f"{place}no account is configured: write [accounts.main] with login, password_file and phones, "
            "or set HARVESTER_ACCOUNTS__MAIN__LOGIN and so on"
        )


def narrow(
    settings: Settings,
    accounts: Sequence[str] = (),
    phones: Sequence[str] = (),
    resources: Sequence[str] = (),
    periods: Sequence[str] = (),
) -> Settings:
    """The settings with only those accounts, phones, resources and periods; an empty filter lets all pass.

    Accounts of which nothing is left are left out.

    Raises:
        UsageError: a value is not configured, or no series passes all filters.
    """
    everything = settings.accounts.values()
    wanted = {
        "account": _known("account", accounts, [account.name for account in everything]),
        "phone": _known(
            "phone",
            [_number(phone) for phone in phones],
            [phone.number for each in everything for phone in each.phones],
        ),
        "resource": _known("resource", resources, [name for each in everything for name in each.resources]),
        "period": _known("period", periods, [period.value for each in everything for period in each.periods]),
    }
    chosen = [part for each in everything if (part := _part(each, wanted))]
    if everything and not chosen:
        raise UsageError("no configured series passes all of these filters together")
    return replace(settings, accounts={account.name: account for account in chosen})


def _number(written: str) -> str:
    try:
        return normalize(written)
    except ValueError as error:
        raise UsageError(f"--phone: {error}") from None


def _known(kind: str, values: Iterable[str], known: Collection[str]) -> Collection[str]:
    """The values to keep; all that are known if none was asked for."""
    wanted = list(values)
    for value in wanted:
        if value not in known:
            raise UsageError(f"--{kind} {shown(value)} is not configured{hint(value, set(known))}")
    return wanted or known


def _part(account: Account, wanted: dict[str, Collection[str]]) -> Account | None:
    phones = tuple(phone for phone in account.phones if phone.number in wanted["phone"])
    resources = tuple(name for name in account.resources if name in wanted["resource"])
    periods = tuple(period for period in account.periods if period.value in wanted["period"])
    if account.name not in wanted["account"] or not (phones and resources and periods):
        return None
    return replace(account, phones=phones, resources=resources, periods=periods)
