"""Filters: the part of the configuration that a command works on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from harvester.config.phones import normalize
from harvester.config.settings import Account, Settings
from harvester.config.wording import hint, quoted
from harvester.errors import ConfigError, UsageError


def require_accounts(settings: Settings) -> None:
    """Raise if no account is configured, for commands that need one.

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
    """Return the settings with only those accounts, phones, resources and periods; an empty filter selects all.

    Accounts without any selected series are omitted.

    Raises:
        UsageError: a value is not configured, or no series matches all filters.
    """
    configured = settings.accounts.values()
    selected = {
        "account": _known("account", accounts, [account.name for account in configured]),
        "phone": _known(
            "phone",
            [_number(phone) for phone in phones],
            [phone.number for each in configured for phone in each.phones],
        ),
        "resource": _known("resource", resources, [name for each in configured for name in each.resources]),
        "period": _known("period", periods, [period.value for each in configured for period in each.periods]),
    }
    chosen = [part for each in configured if (part := _part(each, selected))]
    if configured and not chosen:
        raise UsageError("no configured series matches all of these filters together")
    return replace(settings, accounts={account.name: account for account in chosen})


def _number(written: str) -> str:
    try:
        return normalize(written)
    except ValueError as error:
        raise UsageError(f"--phone: {error}") from None


def _known(kind: str, values: Iterable[str], known: Collection[str]) -> Collection[str]:
    """Return the values of a filter, all known ones if it is empty."""
    selected = list(values)
    for value in selected:
        if value not in known:
            raise UsageError(f"--{kind} {quoted(value)} is not configured{hint(value, set(known))}")
    return selected or known


def _part(account: Account, selected: dict[str, Collection[str]]) -> Account | None:
    """Return the account with its selected series only, None if it has none."""
    phones = tuple(phone for phone in account.phones if phone.number in selected["phone"])
    resources = tuple(name for name in account.resources if name in selected["resource"])
    periods = tuple(period for period in account.periods if period.value in selected["period"])
    if account.name not in selected["account"] or not (phones and resources and periods):
        return None
    return replace(account, phones=phones, resources=resources, periods=periods)
