"""Warnings about valid configurations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harvester.check.advice import advise, refresh_share
from harvester.config import Account, Api, Daemon, Database, Phone, Quota, Settings
from harvester.core.period import Period

HOURLY = "5 * * * *"


def settings(
    phones: int, *, refresh: str = HOURLY, quota: Quota | None = None, api: Api | None = None, **account: object
) -> Settings:
    one = Account(
        name="main",
        login="me",
        phones=tuple(Phone(str(8005550000 + number)) for number in range(phones)),
        quota=quota or Quota(),
        api=api or Api(),
        **account,  # type: ignore[arg-type]
    )
    database = Database(url=f"sqlite:///{Path('/nowhere/x.db')}")
    return Settings(database=database, daemon=Daemon(refresh=refresh), accounts={"main": one})


@pytest.mark.parametrize(
    ("phones", "refresh", "quota", "share"),
    [
        (300, HOURLY, Quota(), 0.5),  # 300 of 600 an hour
        (60, "*/5 * * * *", Quota(), 1.2),
        (60, "0 6 * * *", Quota(), 60 / 14400),
        (25, HOURLY, Quota(limit=100, window=3600, reserve=50), 0.5),
    ],
)
def test_the_share_is_series_times_ticks_of_what_the_quota_gives(
    phones: int, refresh: str, quota: Quota, share: float
) -> None:
    configured = settings(phones, refresh=refresh, quota=quota)
    assert refresh_share(configured.accounts["main"], configured) == pytest.approx(share)


def test_each_resource_and_period_is_a_series() -> None:
    configured = settings(10, resources=("performance", "volume"), periods=(Period.DAY, Period.WEEK, Period.MONTH))
    assert refresh_share(configured.accounts["main"], configured) == pytest.approx(60 / 600)


def test_a_refresh_of_more_than_half_of_the_quota_is_warned_about() -> None:
    assert advise(settings(300)) == []
    (line,) = advise(settings(306))
    assert "accounts.main" in line
    assert "306 series" in line
    assert "51%" in line
    assert "daemon.refresh" in line


def test_a_refresh_of_more_than_the_quota_cannot_keep_up() -> None:
    (line,) = advise(settings(900))
    assert "150%" in line
    assert "cannot keep up" in line


def test_every_account_is_checked() -> None:
    one = settings(400)
    account = one.accounts["main"]
    small = replace(account, name="small", phones=account.phones[:1])
    other = replace(account, name="other")
    lines = advise(replace(one, accounts={"main": account, "small": small, "other": other}))
    assert [line.partition(":")[0] for line in lines] == ["accounts.main", "accounts.other"]


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://api.example.com/api", True),
        ("http://192.0.2.7:8080/api", True),
        ("https://api.example.com/api", False),
        ("http://127.0.0.1:8151/api", False),
        ("http://[::1]:8151/api", False),
        ("http://localhost/api", False),
    ],
)
def test_a_password_in_clear_text_is_warned_about(url: str, warned: bool) -> None:  # noqa: FBT001 - a table's column
    lines = advise(settings(1, api=Api(base_url=url)))
    assert [line.partition(":")[0] for line in lines] == ["accounts.main"] * warned
    assert all("unencrypted" in line for line in lines)
