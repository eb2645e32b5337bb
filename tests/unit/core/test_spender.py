"""Spellings of one URL and login share a key, others do not."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.spender import normal_url, spender_key

URL = "https://host.example/api"
PATHS = st.lists(st.text(string.ascii_lowercase + string.digits + "-._~!é", min_size=1).filter(lambda s: s.strip(".")))


@pytest.mark.parametrize(
    "same",
    [
        "HTTPS://HOST.example/api",
        "https://host.example./api",
        "https://host.example:443/api",
        "https://host.example//api",
        "https://host.example/%61pi",
        "https://host.example/%61%70%69",
        "https://host.example/api/",
        "https://host.example/api//",
        "https://host.example/./api",
        "https://host.example/x/../api",
        "https://host.%65xample/api",
        "https://HOST.example.:443//%61pi/",
    ],
)
def test_spellings_of_one_url_are_one(same: str) -> None:
    assert normal_url(same) == URL
    assert spender_key(same, "me@example.com") == spender_key(URL, " Me@example.com ")


@pytest.mark.parametrize(
    "other",
    [
        "http://host.example/api",
        "https://host.example:8443/api",
        "https://other.example/api",
        "https://host.example/API",
        "https://host.example/api/v2",
        "https://host.example/a%2Fpi",
        "https://host.example/",
    ],
)
def test_another_api_has_another_key(other: str) -> None:
    assert spender_key(other, "me") != spender_key(URL, "me")


def test_addresses_and_names_beyond_ascii_are_normal() -> None:
    assert normal_url("http://[0:0:0:0:0:0:0:1]:80/") == normal_url("http://[::1]")
    assert normal_url("https://Bücher.example/é") == normal_url("https://xn--bcher-kva.example/%c3%a9")
    assert normal_url("https://host.example/%2f") == "https://host.example/%2F"


def test_logins_are_told_apart() -> None:
    keys = {spender_key(URL, login) for login in ("me", "you", "me you", "m e", "")}
    assert len(keys) == 5
    assert all(len(key) == 16 and set(key) <= set(string.hexdigits) for key in keys)


@given(PATHS, st.data())
def test_any_spelling_of_a_path_is_the_same(parts: list[str], data: st.DataObject) -> None:
    plain = "https://host.example/" + "/".join(parts)
    spelt = "https://host.example/"
    for char in "/".join(parts):
        if char == "/":
            spelt += "/" * data.draw(st.integers(1, 3))
        elif char in string.ascii_letters + string.digits + "-~" and data.draw(st.booleans()):
            spelt += f"%{ord(char):02x}"
        else:
            spelt += char
    assert normal_url(spelt) == normal_url(plain)
    assert normal_url(normal_url(spelt)) == normal_url(spelt)
