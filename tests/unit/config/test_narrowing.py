from __future__ import annotations

import pytest

from harvester.config import Account, Database, Phone, Settings, narrow, require_accounts
from harvester.core.period import Period
from harvester.errors import ConfigError, UsageError

SETTINGS = Settings(
    database=Database(url="sqlite:////v.db"),
    accounts={
        "main": Account(
            name="main",
            login="a",
            phones=(Phone("ALL"), Phone("8005551234", "Sales")),
            resources=("performance", "volume"),
            periods=(Period.DAY, Period.MONTH),
        ),
        "other": Account(name="other", login="b", phones=(Phone("8005551235"),)),
    },
)


def test_without_filters_everything_is_selected() -> None:
    assert narrow(SETTINGS) == SETTINGS


def test_each_filter_narrows() -> None:
    found = narrow(SETTINGS, ["main"], ["(800) 555-1234"], ["volume"], ["month"])
    assert list(found.accounts) == ["main"]
    account = found.accounts["main"]
    assert account.phones == (Phone("8005551234", "Sales"),)
    assert account.resources == ("volume",)
    assert account.periods == (Period.MONTH,)


def test_accounts_without_a_selected_series_are_omitted() -> None:
    assert list(narrow(SETTINGS, resources=["volume"]).accounts) == ["main"]
    assert list(narrow(SETTINGS, phones=["8005551235", "all"]).accounts) == ["main", "other"]


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"accounts": ["mian"]}, '--account "mian" is not configured; did you mean main?'),
        ({"phones": ["8005551236"]}, "did you mean 800555123"),
        ({"phones": ["800"]}, "--phone: "),
        ({"resources": ["events"]}, '--resource "events" is not configured'),
        ({"resources": ["volum"]}, "did you mean volume?"),
        ({"periods": ["week"]}, '--period "week" is not configured'),
        ({"accounts": ["other"], "resources": ["volume"]}, "all of these filters together"),
    ],
)
def test_a_value_that_is_not_configured_is_a_usage_error(filters: dict[str, list[str]], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        narrow(SETTINGS, **filters)
    assert words in str(caught.value)


def test_an_account_can_be_required() -> None:
    require_accounts(SETTINGS)
    with pytest.raises(ConfigError, match="no account is configured"):
        require_accounts(Settings(database=Database(url="sqlite:////v.db")))
