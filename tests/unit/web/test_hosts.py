"""Allowed and refused Host headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.web.hosts import host_of, is_allowed_host

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
def test_allowed_hosts(header: str) -> None:
    assert is_allowed_host(header, NAMES, "10.0.0.5")


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
def test_refused_hosts(header: str | None) -> None:
    assert not is_allowed_host(header, NAMES, "10.0.0.5")


def test_without_a_local_address_only_names_and_loopback_are_allowed() -> None:
    assert is_allowed_host("localhost", (), "")
    assert not is_allowed_host("10.0.0.5", (), "")


@given(st.from_regex(r"[a-z0-9.-]{1,30}", fullmatch=True), st.integers(0, 65535))
def test_a_port_and_capitals_change_nothing(host: str, port: int) -> None:
    assert host_of(f"{host.upper()}:{port}") == host_of(host)


@given(st.text(max_size=40))
def test_any_header_is_decided(header: str) -> None:
    assert not is_allowed_host(f"{header}.evil.example", (), "127.0.0.1")
