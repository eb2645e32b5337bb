"""Filters on the stored series, for commands that work without a configuration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from harvester.config.phones import normalize
from harvester.config.wording import hint, quoted
from harvester.core.model import Series
from harvester.errors import UsageError
from harvester.store.types import AccountStatus


def narrow(
    stored: Sequence[AccountStatus],
    accounts: Sequence[str] = (),
    phones: Sequence[str] = (),
    resources: Sequence[str] = (),
    periods: Sequence[str] = (),
) -> list[AccountStatus]:
    """Return the accounts with only those series that match all filters; an empty filter matches all.

    Raises:
        UsageError: a value is not stored, or no series matches all filters.
    """
    series = [one.series for status in stored for one in status.series]
    phones = phone_numbers(phones)
    refuse_unknown("account", accounts, {status.identity.name for status in stored})
    refuse_unknown("phone", phones, stored_phones(stored))
    refuse_unknown("resource", resources, {one.resource for one in series})
    refuse_unknown("period", periods, {one.period.value for one in series})

    def matches(one: Series) -> bool:
        choices = ((phones, one.phone), (resources, one.resource), (periods, one.period.value))
        return all(value in choice for choice, value in choices if choice)

    chosen = [
        replace(status, series=[one for one in status.series if matches(one.series)])
        for status in stored
        if not accounts or status.identity.name in accounts
    ]
    if phones or resources or periods:
        chosen = [status for status in chosen if status.series]
    if stored and not chosen:
        raise UsageError("no stored series matches all of these filters")
    return chosen


def stored_phones(stored: Sequence[AccountStatus]) -> set[str]:
    """Return every number that has a series, and ALL where it has one."""
    return {one.series.phone for status in stored for one in status.series}


def refuse_unknown(option: str, values: Sequence[str], known: Collection[str]) -> None:
    """Refuse a value that is not among the known ones, and name the nearest of these.

    Raises:
        UsageError: a value is not known.
    """
    for value in values:
        if value not in known:
            raise UsageError(f"--{option} {quoted(value)} is not stored{hint(value, known)}")


def phone_numbers(written: Sequence[str]) -> list[str]:
    """Return the values of `--phone` as the API writes them.

    Raises:
        UsageError: a value is no phone number.
    """
    try:
        return [normalize(phone) for phone in written]
    except ValueError as error:
        raise UsageError(f"--phone: {error}") from None
