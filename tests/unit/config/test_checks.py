from __future__ import annotations

from datetime import date, datetime

import pytest

from harvester.config import checks


@pytest.mark.parametrize("name", ["main", "a", "a-b_c", "x9", "a_", "a--b"])
def test_account_names(name: str) -> None:
    assert checks.account_name(name) == name


@pytest.mark.parametrize("name", ["", "Main", "9a", "-a", "a__b", "a b", "\xe4", "a\n", "database"])
def test_bad_account_names(name: str) -> None:
    with pytest.raises(ValueError, match="account"):
        checks.account_name(name)


@pytest.mark.parametrize(
    ("value", "found"),
    [(date(2024, 1, 31), date(2024, 1, 31)), ("2024-02-29", date(2024, 2, 29)), ("", None), (None, None)],
)
def test_days(value: object, found: date | None) -> None:
    assert checks.day(value) == found


@pytest.mark.parametrize(
    "value", ["2023-02-29", "20240101", "2024-W01-1", "01/02/2024", "0001-01-01", date(2204, 1, 1), 20240101, True]
)
def test_bad_days(value: object) -> None:
    with pytest.raises(ValueError, match=r"calendar|must be a date|out of range"):
        checks.day(value)


def test_a_datetime_is_not_a_day() -> None:
    with pytest.raises(ValueError, match="must be a date"):
        checks.day(datetime.fromisoformat("2024-01-01T00:00:00+00:00"))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("America/New York", "America/New_York"),
        ("new_york", "America/New_York"),
        ("America/Chicgo", "America/Chicago"),
        ("US/Estern", "US/Eastern"),
        ("", "America/New_York"),
        ("America", "America/"),
        ("../etc/passwd", "a zone is written"),
        ("/etc/localtime", "zone"),
        ("a\0b", "zone"),
        ("x" * 5000, "zone"),
    ],
)
def test_a_bad_zone_names_the_nearest(name: str, remedy: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone") as caught:
        checks.zone(name)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8150", ("127.0.0.1", 8150)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:65535", ("localhost", 65535)),
        ("", None),
    ],
)
def test_addresses(text: str, address: tuple[str, int] | None) -> None:
    assert checks.listen(text) == address


@pytest.mark.parametrize(
    "text", ["localhost", "8150", ":8150", "::1:8150", "[127.0.0.1]:1", "h:65536", "h:-1", "h:1e3", "h o:1", 8150]
)
def test_bad_addresses(text: object) -> None:
    with pytest.raises(ValueError, match=r"host:port|at most"):
        checks.listen(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://X.example.com/API/", "https://x.example.com/API"),
        ("HTTPS://x.example.com:443/api", "https://x.example.com/api"),
        ("http://[::1]:8080//", "http://[::1]:8080"),
    ],
)
def test_base_urls_have_one_form(text: str, url: str) -> None:
    assert checks.base_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x.example.com/api",
        "ftp://x/api",
        "https://",
        "https://u:hunter2@x/api",
        "https://x/api?y=hunter2",
        "https://x/a b",
        "https://x:port/",
        "https://[::1/",
    ],
)
def test_bad_base_urls(text: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        checks.base_url(text)
    assert "hunter2" not in str(caught.value)
