"""Behaviour of the simulated API: credentials, refusals, quota headers, clock."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime

import pytest

from harvester.simulator.api import UNKNOWN_ACCOUNT, SimulatedApi
from harvester.simulator.faults import Ending
from harvester.simulator.options import Account, Options, ResetStyle
from harvester.simulator.request import Request
from harvester.simulator.world import Beyond, World
from tests.support.simulation import basic, direct_account, get, header, post_auth, refused_per_window, respond

_NOW = datetime(2024, 6, 12, 16, 7, 30, tzinfo=UTC).timestamp()
_DAY = 86_400.0
_PASSWORD = "open sesame"
_TOOL = Account(login="me", password=_PASSWORD, tool="dev")
_DIRECT = direct_account()
_PATH = "/api/profile/20240101/20240102/day/8005551234"


def _pair(api: SimulatedApi, now: float = _NOW, **changed: str) -> dict[str, str]:
    form = {"tool": "dev", "login": "me", "password": _PASSWORD} | changed
    pair: dict[str, str] = json.loads(post_auth(api, now, **form).body)
    return pair


def _status(api: SimulatedApi, pair: dict[str, str], now: float = _NOW, path: str = _PATH) -> int:
    return get(api, path, now, Account(login=pair["login"], password=pair["password"])).status


# Credentials


def test_a_tools_credentials_are_refused_for_data_but_their_pair_is_accepted() -> None:
    api = SimulatedApi([_TOOL])
    assert get(api, _PATH, _NOW, _TOOL).status == 401
    pair = _pair(api)
    assert all(len(text) == 32 and int(text, 16) for text in pair.values())
    assert _status(api, pair) == 200
    assert _pair(api) != pair


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"password": "wrong"}, "Invalid login or password."),
        ({"login": "you"}, "Invalid login or password."),
        ({"tool": "insight"}, "Invalid login or password."),
    ],
)
@pytest.mark.parametrize("status", [400, 401])
def test_wrong_tool_credentials_are_refused(changed: dict[str, str], error: str, status: int) -> None:
    api = SimulatedApi([_TOOL], Options(auth_refused=status))
    form = {"tool": "dev", "login": "me", "password": _PASSWORD} | changed
    reply = post_auth(api, _NOW, **form)
    assert (reply.status, json.loads(reply.body)) == (status, {"error": error})


def test_an_incomplete_form_is_refused() -> None:
    assert post_auth(SimulatedApi([_TOOL]), _NOW, login="me", password=_PASSWORD).status == 400


def test_direct_credentials_are_refused_at_auth() -> None:
    api = SimulatedApi([_DIRECT])
    assert get(api, _PATH, _NOW, _DIRECT).status == 200
    reply = post_auth(api, _NOW, tool=_DIRECT.tool, login=_DIRECT.login, password=_DIRECT.password)
    assert reply.status == 401


def test_a_pair_expires_a_day_after_its_last_use() -> None:
    api = SimulatedApi([_TOOL])
    pair = _pair(api)
    assert _status(api, pair, _NOW + _DAY - 1) == 200
    assert _status(api, pair, _NOW + 2 * _DAY - 2) == 200
    assert _status(api, pair, _NOW + 3 * _DAY) == 401
    assert _status(api, pair, _NOW) == 401


@pytest.mark.parametrize(("single", "status"), [(True, 401), (False, 200)])
def test_a_new_pair_may_end_the_old_one(*, single: bool, status: int) -> None:
    api = SimulatedApi([_TOOL], Options(single_pair=single))
    old = _pair(api)
    new = _pair(api)
    assert (_status(api, old), _status(api, new)) == (status, 200)


def test_pairs_can_expire_and_accounts_be_suspended() -> None:
    api = SimulatedApi([_TOOL])
    pair = _pair(api)
    api.registry.expire()
    assert _status(api, pair) == 401
    pair = _pair(api)
    api.suspend("main")
    assert _status(api, pair) == 401
    assert "error" in _pair(api)
    api.resume("main")
    assert _status(api, pair) == 200


@pytest.mark.parametrize("value", ["", "Bearer x", "Basic !!", "Basic eA==", "Basic /w=="])
def test_an_invalid_authorization_is_refused(value: str) -> None:
    api = SimulatedApi([_DIRECT])
    reply = respond(api, Request("GET", _PATH, {"authorization": value}), _NOW)
    assert reply.status == 401
    assert header(reply, "WWW-Authenticate")
    assert sum(api.requests_per_window(UNKNOWN_ACCOUNT).values()) == 1


def test_accounts_need_different_names_and_logins() -> None:
    with pytest.raises(ValueError, match="of its own"):
        SimulatedApi([_TOOL, Account(name="other", login="me")])


# What is refused


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/api/profile/2024-01-01/20240102/day/ALL", 400, "Invalid start parameter."),
        ("/api/profile/20240230/20240302/day/ALL", 400, "Invalid start parameter."),
        ("/api/profile/00010101/20240302/day/ALL", 400, "Invalid start parameter."),
        ("/api/profile/20240101/x/day/ALL", 400, "Invalid end parameter."),
        ("/api/profile/20240102/20240101/day/ALL", 400, "Invalid end parameter."),
        ("/api/profile/20240101/20240102/hour/ALL", 400, "Invalid period parameter."),
        ("/api/profile/20240101/20240102/day/all", 400, "Invalid phone parameter."),
        ("/api/profile/20240101/20240102/day", 404, "Unknown resource."),
        ("/api/nothing/20240101/20240102/day/ALL", 404, "Unknown resource."),
    ],
)
def test_a_malformed_parameter_is_named_and_the_request_counts(path: str, status: int, error: str) -> None:
    api = SimulatedApi([_DIRECT])
    reply = get(api, path, _NOW, _DIRECT)
    assert (reply.status, json.loads(reply.body)) == (status, {"error": error})
    assert header(reply, "X-RateLimit-Remaining") == "149"


@pytest.mark.parametrize(
    ("methods", "method", "status"),
    [({"GET"}, "GET", 200), ({"GET"}, "POST", 405), ({"POST"}, "GET", 405), ({"GET", "POST"}, "POST", 200)],
)
def test_methods(methods: set[str], method: str, status: int) -> None:
    api = SimulatedApi([_DIRECT], Options(methods=frozenset(methods)))
    reply = get(api, _PATH, _NOW, _DIRECT, method=method)
    assert reply.status == status
    assert header(reply, "Allow") == (", ".join(sorted(methods)) if status == 405 else None)
    assert respond(api, Request("GET", "/api/auth"), _NOW).status == 405


@pytest.mark.parametrize(("foreign", "error"), [(401, "Unauthorized."), (400, "Invalid phone parameter.")])
def test_a_number_of_another_account(foreign: int, error: str) -> None:
    account = direct_account(world=World(phones=("8005551234",)))
    api = SimulatedApi([account], Options(foreign_status=foreign))
    reply = get(api, _PATH.replace("1234", "9999"), _NOW, account)
    assert (reply.status, json.loads(reply.body)) == (foreign, {"error": error})
    assert get(api, _PATH, _NOW, account).status == 200
    assert get(api, _PATH.replace("8005551234", "ALL"), _NOW, account).status == 200


@pytest.mark.parametrize(("status", "error"), [(400, "Invalid date range."), (500, "Unknown error.")])
def test_too_wide_a_range(status: int, error: str) -> None:
    api = SimulatedApi([_DIRECT], Options(max_days=100, wide_status=status))
    assert get(api, "/api/profile/20240101/20240409/day/ALL", _NOW, _DIRECT).status == 200
    reply = get(api, "/api/profile/20240101/20240410/day/ALL", _NOW, _DIRECT)
    assert (reply.status, json.loads(reply.body)) == (status, {"error": error})


@pytest.mark.parametrize(
    ("span", "error"),
    [
        ("20240430/20240502", "Invalid start parameter."),
        ("20240612/20240613", "Invalid end parameter."),
        ("20240613/20240613", "Invalid start parameter."),
        ("20240501/20240612", "Invalid end parameter."),
    ],
)
def test_days_that_the_server_may_refuse(span: str, error: str) -> None:
    world = World(first_day=date(2024, 5, 1), before=Beyond.REFUSED, future=Beyond.REFUSED)
    account = direct_account(world=world)
    api = SimulatedApi([account], Options(today_refused=True))
    reply = get(api, f"/api/profile/{span}/day/ALL", _NOW, account)
    assert (reply.status, json.loads(reply.body)) == (400, {"error": error})
    assert get(api, "/api/profile/20240501/20240611/day/ALL", _NOW, account).status == 200


def test_an_error_in_xml_has_the_content_type_of_json() -> None:
    reply = get(SimulatedApi([_DIRECT]), "/api/profile/x/x/day/ALL", _NOW, _DIRECT, accept="application/xml")
    assert reply.body.startswith(b"<?xml")
    assert header(reply, "Content-Type") == "application/json"


# Quota and clock


def test_all_resources_share_one_quota_per_window() -> None:
    api = SimulatedApi([_DIRECT], Options(limit=3))
    paths = [f"/api/{name}/20240101/20240102/day/ALL" for name in ("performance", "volume", "events", "profile")]
    replies = [get(api, path, _NOW, _DIRECT) for path in paths]
    assert [reply.status for reply in replies] == [200, 200, 200, 429]
    assert [header(reply, "X-RateLimit-Remaining") for reply in replies] == ["2", "1", "0", "0"]
    reset = int(header(replies[0], "X-RateLimit-Reset") or 0)
    assert reset == _NOW + 450
    assert get(api, _PATH, reset - 0.01, _DIRECT).status == 429
    assert get(api, _PATH, float(reset), _DIRECT).status == 200
    assert api.requests_per_window() == {reset - 900: 3, reset: 1}
    assert refused_per_window(api) == {reset - 900: 2}


def test_each_account_has_a_quota_of_its_own() -> None:
    other = direct_account("other")
    api = SimulatedApi([_DIRECT, other], Options(limit=1))
    assert [get(api, _PATH, _NOW, account).status for account in (_DIRECT, other, other)] == [200, 200, 429]
    assert sum(api.requests_per_window("other").values()) == 1


def test_authentications_have_a_quota_of_their_own() -> None:
    api = SimulatedApi([_TOOL])
    form = {"tool": "dev", "login": "me", "password": "wrong"}
    statuses = [post_auth(api, _NOW, **form).status for _ in range(16)]
    assert statuses == [401] * 15 + [429]
    assert api.requests_per_window() == {}
    (window,) = api.auth_quota("me").windows.values()
    assert (window.sent, window.refused) == (15, 1)


@pytest.mark.parametrize(
    ("style", "reset"),
    [
        (ResetStyle.EPOCH, "1718208900"),
        (ResetStyle.RELATIVE, "450"),
        (ResetStyle.MILLISECONDS, "1718208900000"),
        (ResetStyle.NONSENSE, "soon"),
        (ResetStyle.ABSENT, None),
    ],
)
def test_the_styles_of_the_reset_header(style: ResetStyle, reset: str | None) -> None:
    api = SimulatedApi([_DIRECT], Options(reset_style=style, limit=1, retry_after=True))
    assert header(get(api, _PATH, _NOW, _DIRECT), "X-RateLimit-Reset") == reset
    assert header(get(api, _PATH, _NOW + 0.5, _DIRECT), "Retry-After") == "450"


def test_the_server_acts_by_its_own_clock() -> None:
    options = Options(clock_offset=100.0, clock_drift=50.0, clock_origin=_NOW, clock_steps=((_NOW + 1e6, -30.0),))
    api = SimulatedApi([_DIRECT], options)
    assert api.server_time(_NOW) == _NOW + 100
    assert api.server_time(_NOW + 999_999) == pytest.approx(_NOW + 999_999 + 100 + 50, abs=0.01)
    assert api.server_time(_NOW + 1e6) == pytest.approx(_NOW + 1e6 + 100 + 50 - 30, abs=0.01)
    reply = get(api, _PATH, _NOW + 0.75, _DIRECT)
    assert parsedate_to_datetime(header(reply, "Date") or "").timestamp() == _NOW + 100
    assert header(respond(SimulatedApi([_DIRECT], Options(date=False)), Request("GET", _PATH), _NOW), "Date") is None


def test_a_neighbour_lowers_remaining_but_not_the_clients_own_count() -> None:
    api = SimulatedApi([_DIRECT], Options(neighbour=40))
    reply = get(api, _PATH, _NOW + 449, _DIRECT)
    assert header(reply, "X-RateLimit-Remaining") == str(150 - 40 - 1)
    assert list(api.requests_per_window().values()) == [1]
    assert api.spend_as_neighbour(500, _NOW + 449) == 109
    assert get(api, _PATH, _NOW + 449, _DIRECT).status == 429


def test_an_outage_closes_the_connection() -> None:
    api = SimulatedApi([_DIRECT], Options(outages=((_NOW, _NOW + 60),)))
    assert get(api, _PATH, _NOW, _DIRECT).ending is Ending.CLOSED
    assert get(api, _PATH, _NOW + 60, _DIRECT).ending is Ending.WHOLE
    assert [visit.status for visit in api.journal] == [0, 200]
    assert api.total == 2


def test_half_of_the_latency_is_before_and_half_after_the_arrival() -> None:
    api = SimulatedApi([_DIRECT], Options(latency=1.0, jitter=0.5))
    exchanges = [api.accept(Request("GET", _PATH, basic(_DIRECT.login, _DIRECT.password))) for _ in range(20)]
    assert all(0.5 <= exchange.inbound <= 0.75 and 0.5 <= exchange.outbound <= 0.75 for exchange in exchanges)
    assert len({exchange.inbound for exchange in exchanges}) == 20
    assert api.answer(exchanges[0], _NOW).delay == exchanges[0].outbound


def test_the_same_requests_at_the_same_moments_get_the_same_answers() -> None:
    def replies() -> list[str]:
        api = SimulatedApi([_TOOL], Options(seed=3, neighbour=50, jitter=1.0))
        pair = _pair(api)
        account = Account(login=pair["login"], password=pair["password"])
        replies = [get(api, _PATH, _NOW + 20 * number, account) for number in range(20)]
        return [f"{reply!r} {reply.body!r}" for reply in replies]

    assert replies() == replies()


def test_the_journal_is_limited_to_its_size() -> None:
    api = SimulatedApi([_DIRECT], Options(journal_size=2))
    for _ in range(3):
        get(api, _PATH, _NOW, _DIRECT)
    assert len(api.journal) == 2
    assert (api.total, api.visits[_PATH.removeprefix("/api")]) == (3, 3)


@pytest.mark.parametrize("wrong", [{"window": 0}, {"limit": 0}, {"latency": -1.0}, {"methods": frozenset({"PUT"})}])
def test_impossible_options_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        Options(**wrong)  # type: ignore[arg-type]
