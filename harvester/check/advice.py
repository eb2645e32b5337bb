"""What is no mistake in a configuration, and yet seldom meant: told by `plan` and `check`, refused by none. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from harvester.config import Account, Settings, ticks_per_day
from harvester.core.model import usable_limit
from harvester.engine.account_plan import series_count

MOST = 0.5  # share of the quota that the refresh alone may take before it is worth a word

_DAY = 86_400  # seconds


def advise(settings: Settings) -> list[str]:
    """A line for each thing to think about, account by account."""
    lines = []
    for account in settings.accounts.values():
        lines += [line for line in (_heavy_refresh(account, settings), _clear_text(account)) if line]
    return lines


def refresh_share(account: Account, settings: Settings) -> float:
    """The share of its quota that refreshing this account takes, on average: one request per series and tick.

    Above 1 it cannot be done.
    """
    requests = series_count(account) * ticks_per_day(settings.daemon.refresh)
    quota = account.quota
    return requests / (usable_limit(quota.limit, quota.reserve) * _DAY / quota.window)


def _heavy_refresh(account: Account, settings: Settings) -> str | None:
    share = refresh_share(account, settings)
    if share <= MOST:
        return None
    consequence = "more than there is" if share > 1 else "which leaves little for the past"
    return (
        f"accounts.{account.name}: refreshing {series_count(account)} series at "
        f'"{settings.daemon.refresh}" takes {share:.0%} of the quota, {consequence}; '
        "let daemon.refresh tick less often, or harvest fewer phones, resources or periods"
    )


def _clear_text(account: Account) -> str | None:
    parts = urlsplit(account.api.base_url)
    if parts.scheme != "http" or _is_here(parts.hostname or ""):
        return None
    return f"accounts.{account.name}: its password travels unencrypted to {parts.hostname}; use https in api.base_url"


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
