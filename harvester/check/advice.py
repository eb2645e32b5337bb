"""Warnings about a valid configuration that is probably not intended, printed by `plan` and `check`. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from harvester.config import Account, Settings, ticks_per_day
from harvester.core.model import usable_limit
from harvester.engine.account_plan import series_count

MAX_REFRESH_SHARE = 0.5  # of the quota; a refresh that takes more is warned about

_DAY_SECONDS = 86_400


def advise(settings: Settings) -> list[str]:
    """Return the warnings, one line each, account by account."""
    lines = []
    for account in settings.accounts.values():
        lines += [line for line in (_heavy_refresh(account, settings), _clear_text(account)) if line]
    return lines


def refresh_share(account: Account, settings: Settings) -> float:
    """Return the average share of its quota that refreshing an account takes, at one request per series and tick.

    Above 1 the refresh cannot keep up.
    """
    requests = series_count(account) * ticks_per_day(settings.daemon.refresh)
    quota = account.quota
    return requests / (usable_limit(quota.limit, quota.reserve) * _DAY_SECONDS / quota.window)


def _heavy_refresh(account: Account, settings: Settings) -> str | None:
    share = refresh_share(account, settings)
    if share <= MAX_REFRESH_SHARE:
        return None
    consequence = "so it cannot keep up" if share > 1 else "which leaves little for the past"
    return (
        f"accounts.{account.name}: refreshing {series_count(account)} series at "
        f'"{settings.daemon.refresh}" takes {share:.0%} of the quota, {consequence}; '
        "set daemon.refresh to fewer times, or configure fewer phones, resources or periods"
    )


def _clear_text(account: Account) -> str | None:
    parts = urlsplit(account.api.base_url)
    if parts.scheme != "http" or _is_loopback(parts.hostname or ""):
        return None
    return f"accounts.{account.name}: the password is sent unencrypted to {parts.hostname}; use https in api.base_url"


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
