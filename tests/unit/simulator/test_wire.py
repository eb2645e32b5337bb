"""Bodies agree with the published ones, byte for byte."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.simulator.api import SimulatedApi
from harvester.simulator.options import Account
from harvester.simulator.traffic import Tally
from harvester.simulator.wire import json_figures, php_number, php_string, xml_figures
from harvester.simulator.world import World
from tests.support.simulation import basic, direct_account, get, post_auth

_WIRE = Path(__file__).parents[2] / "wire"
_CANARY = "canary"
_NOW = 1_600_000_000.0
_SAMPLE = World(given={date(2018, 2, 7): Tally(calls=1, load_ms=45, callers=1)})
_RANGE = "20180201/20180208/day/8005551234"


@pytest.mark.parametrize(
    ("name", "path", "accept"),
    [
        ("performance.json", f"performance/{_RANGE}", "application/json"),
        ("performance.xml", f"performance/{_RANGE}", "application/xml"),
        ("events.json", f"events/{_RANGE}", "text/plain"),
        ("profile.json", f"profile/{_RANGE}", "application/json"),
        ("error.json", "performance/2018-02-01/20180208/day/ALL", "application/json"),
        ("error.xml", "performance/2018-02-01/20180208/day/ALL", "application/xml"),
    ],
)
def test_data_bodies_are_the_published_ones(name: str, path: str, accept: str) -> None:
    account = direct_account(world=_SAMPLE)
    reply = get(SimulatedApi([account]), f"/api/{path}", _NOW, account, accept=accept)
    assert reply.body == (_WIRE / name).read_bytes()


def test_a_pair_is_issued_as_published_and_accepted() -> None:
    sample = (_WIRE / "auth.json").read_bytes()
    pair = tuple(json.loads(sample).values())
    account = Account(login="me", password=_CANARY, tool="dev", pairs=(pair,), world=_SAMPLE)
    api = SimulatedApi([account])
    assert post_auth(api, _NOW, tool="dev", login="me", password=_CANARY).body == sample
    used = Account(login=pair[0], password=pair[1])
    assert get(api, f"/api/profile/{_RANGE}", _NOW, used).status == 200


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_is_the_same_after_parsing(value: float) -> None:
    assert float(php_number(value)) == float(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3.0, "3"), (0.045, "0.045"), (1e-05, "1.0e-5"), (1.5e300, "1.5e+300"), (None, "null")],
)
def test_numbers_are_printed_as_in_php(value: float | None, text: str) -> None:
    assert php_number(value) == text


def test_text_is_escaped_as_in_php() -> None:
    assert php_string("a/b \u00fc") == '"a\\/b \\u00fc"'


def test_an_empty_map_is_an_empty_array() -> None:
    assert json_figures({"calls": {}}) == b'{"calls":[]}'
    assert json_figures({}) == b"[]"
    assert xml_figures({"calls": {1: None}, "callers": {}}).splitlines()[1] == (
        b'<result><calls><item timestamp="1"/></calls><callers/></result>'
    )


def test_no_repr_contains_credentials() -> None:
    account = Account(password=_CANARY, pairs=(("login", _CANARY),))
    request = basic("login", _CANARY)
    api = SimulatedApi([account])
    pair = post_auth(api, _NOW, tool=account.tool, login=account.login, password=_CANARY)
    assert _CANARY not in repr(account) + repr(pair) + repr(api.__dict__)
    assert request["authorization"] not in repr(api.journal)
