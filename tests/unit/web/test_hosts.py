"""Which Host headers are ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.web.hosts import host_of, is_ours

NAMES = {"metrics.example.com"}


@pytest.mark.parametrize(
    "header",
    [
        "localhost",
        "LocalHost:8150",
        "localhost.:8150",
        "127.0.0.1",
        "127.3.2.1:9",
        "[::1]",
        "[::1]:8150",
        "10.0.0.5:8150",
        "metrics.example.com",
        "Metrics.Example.com.:443",
    ],
)
def test_ours(header: str) -> None:
    assert is_ours(header, NAMES, "10.0.0.5")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        ":8150",
        "evil.example",
        "evil.example:8150",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.1.evil.example",
        "user@localhost",
        "localhost@evil.example",
        "localhost:8150:80",
        "localhost:eighty",
        "localhost/evil.example",
        " localhost",
        "localhost, evil.example",
        "10.0.0.6",
        "0.0.0.0",  # noqa: S104 - refused here
        "[::2]",
        "::1",
        "[localhost]",
        "[::1",
        "metrics.example.com.evil.example",
    ],
)
def test_not_ours(header: str | None) -> None:
    assert not is_ours(header, NAMES, "10.0.0.5")


def test_a_connection_without_a_known_address_has_only_names_and_loopback() -> None:
    assert is_ours("localhost", (), "")
    assert not is_ours("10.0.0.5", (), "")


@given(st.from_regex(r"[a-z0-9.-]{1,30}", fullmatch=True), st.integers(0, 65535))
def test_a_port_and_capitals_change_nothing(host: str, port: int) -> None:
    assert host_of(f"{host.upper()}:{port}") == host_of(host)


@given(st.text(max_size=40))
def test_whatever_comes_is_judged(header: str) -> None:
    assert not is_ours(f"{header}.evil.example", (), "127.0.0.1")
