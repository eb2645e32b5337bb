"""The environment alone, through the whole of `load`, where no file exists."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Phone, Settings, load
from harvester.config.entries import ANY, KNOWN, leaves
from harvester.config.environment import read_environment, variable
from harvester.core.period import Period, WeekStart
from harvester.errors import ConfigError
from tests.support.examples import examples

NOWHERE = Path("/nonexistent")
ACCOUNT = {"HARVESTER_ACCOUNTS__MAIN__LOGIN": "me@example.com", "HARVESTER_ACCOUNTS__MAIN__PHONES": "ALL"}


def loaded(environ: dict[str, str]) -> Settings:
    return load(None, environ, cwd=NOWHERE, home=NOWHERE, etc=NOWHERE)


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(environ)
    return list(caught.value.problems)


def test_the_environment_alone_configures_everything() -> None:
    found = loaded(
        {
            "PATH": "/bin",
            "HARVESTER_DATABASE__URL": "sqlite:///v.db",
            "HARVESTER_DATABASE__AUTO_MIGRATE": "true",
            "HARVESTER_API__TIMEOUT": "2.5",
            "HARVESTER_API__MAX_RATE": "2.5",
            "HARVESTER_API__CONCURRENCY": "3",
            "HARVESTER_QUOTA__LIMIT": "50",
            "HARVESTER_DAEMON__LISTEN": "",
            "HARVESTER_DAEMON__ALLOWED_HOSTS": "a.example.com, B.example.com",
            "HARVESTER_LOG__LEVEL": "debug",
            "HARVESTER_DEFAULTS__TIMEZONE": "America/Chicago",
            "HARVESTER_ACCOUNTS__MAIN__TOOL": "dev",
            "HARVESTER_ACCOUNTS__MAIN__LOGIN": "me@example.com",
            "HARVESTER_ACCOUNTS__MAIN__PASSWORD": "hunter2",
            "HARVESTER_ACCOUNTS__MAIN__PHONES": "all, (800) 555-1234,",
            "HARVESTER_ACCOUNTS__MAIN__RESOURCES": "performance,volume",
            "HARVESTER_ACCOUNTS__MAIN__PERIODS": "day,month",
            "HARVESTER_ACCOUNTS__MAIN__START": "2024-01-31",
            "HARVESTER_ACCOUNTS__MAIN__WEEK_START": "monday",
            "HARVESTER_ACCOUNTS__MAIN__API__TIMEOUT": "7",
            "HARVESTER_ACCOUNTS__MAIN__QUOTA__RESERVE": "10",
        }
    )
    account = found.accounts["main"]
    assert found.source is None
    assert found.database.path == NOWHERE / "v.db"
    assert found.database.auto_migrate
    assert found.api.concurrency == 3
    assert found.daemon.listen is None
    assert found.daemon.allowed_hosts == ("a.example.com", "b.example.com")
    assert found.log.level == "debug"
    assert (account.tool, account.login) == ("dev", "me@example.com")
    assert account.phones == (Phone("ALL"), Phone("8005551234"))
    assert account.resources == ("performance", "volume")
    assert account.periods == (Period.DAY, Period.MONTH)
    assert account.start == date(2024, 1, 31)
    assert account.calendar.zone.key == "America/Chicago"
    assert account.calendar.week_start is WeekStart.MONDAY
    assert (account.api.timeout, account.api.max_rate) == (7, 2.5)
    assert (account.quota.limit, account.quota.reserve) == (50, 10)


def test_no_repr_contains_a_password() -> None:
    url = "postgresql://u:hunter2@h/db"
    found = loaded(
        ACCOUNT
        | {
            "HARVESTER_ACCOUNTS__MAIN__PASSWORD": "hunter2",
            "HARVESTER_DATABASE__URL": url,
            "HARVESTER_DATABASE__PASSWORD": "hunter2",
            "HARVESTER_API__PROXY": "http://u:hunter2@proxy:1",
            "HARVESTER_DAEMON__PING_URL": "https://x/hunter2",
        }
    )
    assert found.database.url == url
    assert "hunter2" not in repr(found) + str(found)


def test_no_mistake_contains_a_password() -> None:
    secret = "hunter2"
    lines = problems(
        {
            "HARVESTER_ACCOUNTS__MAIN__PASSWORD": secret,
            "HARVESTER_ACCOUNTS__MAIN__PASSWORD_FILE": secret,
            "HARVESTER_ACCOUNTS__MAIN__LOGIN": "",
            "HARVESTER_DATABASE__URL": f"mysql://u:{secret}@h",
            "HARVESTER_API__PROXY": f"socks5://u:{secret}@h",
            "HARVESTER_API__BASE_URL": f"https://u:{secret}@h",
            "HARVESTER_DAEMON__PING_URL": f"ftp://{secret}",
            "HARVESTER_PASSWORD": secret,
        }
    )
    assert len(lines) == 8
    assert secret not in "".join(lines)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("HARVESTER_DATABASE_URL", "HARVESTER_DATABASE__URL"),
        ("HARVESTER_API__TIMEOT", "HARVESTER_API__TIMEOUT"),
        ("HARVESTER_CONFG", "HARVESTER_CONFIG"),
        ("HARVESTER_log__level", "HARVESTER_LOG__LEVEL"),
        ("HARVESTER_ACCOUNTS__MAIN__PASSWRD", "HARVESTER_ACCOUNTS__MAIN__PASSWORD"),
        ("HARVESTER_ACCOUNTS__MAIN__API__TIMEOT", "HARVESTER_ACCOUNTS__MAIN__API__TIMEOUT"),
        ("HARVESTER_ACCOUNTS__MAIN", None),
        ("HARVESTER_ACCOUNTS", None),
        ("HARVESTER_", None),
        ("HARVESTER_QWERTZUIOP", None),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(name: str, nearest: str | None) -> None:
    (line,) = problems(ACCOUNT | {name: "x"})
    assert line.startswith(f"{name}: unknown setting")
    assert nearest is None or f"did you mean {nearest}?" in line


def test_the_variables_of_a_kubernetes_service_are_ignored() -> None:
    links = {
        "HARVESTER_SERVICE_HOST": "10.0.0.1",
        "HARVESTER_SERVICE_PORT": "8150",
        "HARVESTER_SERVICE_PORT_HTTP": "8150",
        "HARVESTER_PORT": "tcp://10.0.0.1:8150",
        "HARVESTER_PORT_8150_TCP_ADDR": "10.0.0.1",
        "HARVESTER_METRICS_SERVICE_HOST": "fd00::1",
        "HARVESTER_METRICS_SERVICE_PORT": "9100",
        "HARVESTER_METRICS_PORT": "tcp://10.0.0.2:9100",
        "HARVESTER_METRICS_PORT_9100_TCP": "tcp://10.0.0.2:9100",
        "HARVESTER_METRICS_PORT_9100_TCP_PROTO": "tcp",
        "HARVESTER_METRICS_PORT_9100_TCP_PORT": "9100",
        "HARVESTER_METRICS_PORT_9100_TCP_ADDR": "10.0.0.2",
        "HARVESTER_2_PORT": "udp://10.0.0.2:9100",
    }
    assert set(loaded(ACCOUNT | links).accounts) == {"main"}
    assert "there is no configuration" in problems(links)[0]


@pytest.mark.parametrize(
    ("name", "value"), [("HARVESTER_DAEMON_PORT", "8150"), ("HARVESTER_METRICS_SERVICE_HOST", "metrics.example")]
)
def test_a_mistyped_setting_is_no_service_of_kubernetes(name: str, value: str) -> None:
    assert problems(ACCOUNT | {name: value})[0].startswith(f"{name}: unknown setting")


def test_the_password_of_the_simulator_is_no_setting() -> None:
    assert set(loaded(ACCOUNT | {"HARVESTER_SIMULATE_PASSWORD": "x"}).accounts) == {"main"}


def test_without_file_and_variables_init_is_named() -> None:
    (line,) = problems({})
    assert "harvester init" in line


def test_a_database_alone_is_enough() -> None:
    assert loaded({"HARVESTER_DATABASE__URL": "postgresql://h/db"}).accounts == {}


def test_a_misspelt_account_is_reported_by_its_missing_keys() -> None:
    lines = problems({"HARVESTER_ACCOUNTS__MAIN__PASSWORD": "x"})
    assert lines == ["HARVESTER_ACCOUNTS__MAIN__LOGIN: is missing", "HARVESTER_ACCOUNTS__MAIN__PHONES: is missing"]


def test_two_accounts_with_one_login_at_one_url_are_refused() -> None:
    second = {"HARVESTER_ACCOUNTS__B__LOGIN": "Me@example.com", "HARVESTER_ACCOUNTS__B__PHONES": "ALL"}
    (line,) = problems(
        ACCOUNT
        | second
        | {
            "HARVESTER_API__BASE_URL": "https://x.example.com/api",
            "HARVESTER_ACCOUNTS__B__API__BASE_URL": "HTTPS://X.example.com.:443//%61pi/",
        }
    )
    assert "main" in line
    assert "share one quota" in line
    assert len(loaded(ACCOUNT | second | {"HARVESTER_ACCOUNTS__B__API__BASE_URL": "https://y/"}).accounts) == 2


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("API__TIMEOUT", "0", "must be more than 0"),
        ("API__TIMEOUT", "nan", "must be a finite number"),
        ("API__TIMEOUT", "fast", 'must be a number; it is "fast"'),
        ("API__CONCURRENCY", "1.5", "must be a whole number"),
        ("API__CONCURRENCY", "0", "must be at least 1"),
        ("API__FORMAT", "yaml", "none of json, xml"),
        ("API__CA_FILE", "missing.pem", "/nonexistent/missing.pem does not exist"),
        ("QUOTA__RESERVE", "150", "must be below `limit`"),
        ("QUOTA__RESERVE", "-1", "must be at least 0"),
        ("QUOTA__LIMIT", "9" * 5000, "must be"),
        ("DAEMON__REFRESH", "61 * * * *", "minute"),
        ("DAEMON__SETTLE_DAYS", "x", "whole number"),
        ("DATABASE__AUTO_MIGRATE", "perhaps", "must be true or false"),
        ("DATABASE__SCHEMA", "pg_x", "schema"),
        ("DEFAULTS__TIMEZONE", "Mars", "not a time zone"),
        ("DEFAULTS__WEEK_START", "sonday", "did you mean sunday?"),
        ("DEFAULTS__PERIODS", "day,weak", "did you mean week?"),
        ("ACCOUNTS__MAIN__PERIODS", "day,day", "listed twice"),
        ("ACCOUNTS__MAIN__RESOURCES", "", "must not be empty"),
        ("ACCOUNTS__MAIN__RESOURCES", "perfomance", "did you mean performance?"),
        ("ACCOUNTS__MAIN__PHONES", " , ", "contains no phone"),
        ("ACCOUNTS__MAIN__PHONES", "ALL,123", "has 3 digits"),
        ("ACCOUNTS__MAIN__PHONES_FILE", "missing.txt", "cannot be read"),
        ("ACCOUNTS__MAIN__PHONES_FILE", "a\0b", "NUL"),
        ("ACCOUNTS__MAIN__LOGIN", "a:b", "no colon"),
        ("ACCOUNTS__MAIN__TOOL", "devv", "did you mean dev?"),
        ("ACCOUNTS__MAIN__START", "soon", "must be a date"),
        ("ACCOUNTS__DATABASE__LOGIN", "x", "cannot be named database"),
    ],
)
def test_one_mistake_is_one_line_at_its_variable(name: str, value: str, words: str) -> None:
    (line,) = problems(ACCOUNT | {f"HARVESTER_{name}": value})
    assert line.startswith(f"HARVESTER_{name}")
    assert words in line
    assert len(line) < 250


def test_all_mistakes_are_reported_at_once() -> None:
    lines = problems({"HARVESTER_API__TIMEOUT": "x", "HARVESTER_LOG__LEVEL": "x", "HARVESTER_X": "x"})
    assert len(lines) == 3


def test_names_with_a_hyphen_or_at_the_edge() -> None:
    def accounts(*names: str, **more: str) -> set[str]:
        mistakes: list[str] = []
        layer = read_environment({"HARVESTER_" + key: "x" for key in more}, names, NOWHERE, mistakes)
        assert mistakes == []
        return {keys[1] for keys in layer.entries}

    assert accounts("my-site", ACCOUNTS__MY_SITE__LOGIN="") == {"my-site"}
    assert accounts("my_site", ACCOUNTS__MY_SITE__API__TIMEOUT="") == {"my_site"}
    assert accounts(ACCOUNTS__MY_SITE__LOGIN="") == {"my_site"}
    assert accounts("a_", ACCOUNTS__A___LOGIN="") == {"a_"}


def test_a_name_that_could_mean_two_accounts_is_refused() -> None:
    mistakes: list[str] = []
    read_environment({"HARVESTER_ACCOUNTS__A_B__LOGIN": "x"}, ["a-b", "a_b"], NOWHERE, mistakes)
    assert "could mean any of the accounts a-b, a_b" in mistakes[0]


@pytest.mark.parametrize(
    ("name", "key", "remedy"),
    [
        ("HARVESTER_ACCOUNTS__MAIN__API__CONCURRENCY", "concurrency", "HARVESTER_API__CONCURRENCY"),
        ("HARVESTER_DEFAULTS__API__CONCURRENCY", "concurrency", "HARVESTER_API__CONCURRENCY"),
        ("HARVESTER_ACCOUNTS__MAIN__DAEMON__SETTLE_DAYS", "settle_days", "HARVESTER_DAEMON__SETTLE_DAYS"),
    ],
)
def test_an_account_cannot_override_a_setting_of_the_process(name: str, key: str, remedy: str) -> None:
    assert problems(ACCOUNT | {name: "2"}) == [f"{name}: {key} is for the whole process; set {remedy}"]


@given(
    st.from_regex(r"[a-z](_?[a-z0-9])*_?", fullmatch=True),
    st.sampled_from([keys[2:] for keys in leaves(KNOWN) if ANY in keys]),
)
@examples(50)
def test_every_key_of_every_account_has_its_variable(name: str, keys: tuple[str, ...]) -> None:
    mistakes: list[str] = []
    path = ("accounts", name, *keys)
    layer = read_environment({variable(path): "x"}, [], NOWHERE, mistakes)
    assert name == "database" or (set(layer.entries) == {path} and not mistakes)


NAMES = st.sampled_from(sorted(variable(keys).replace(ANY, "MAIN") for keys in leaves(KNOWN)))


@given(st.dictionaries(NAMES | st.text(max_size=9).map("HARVESTER_".__add__), st.text(max_size=30), max_size=8))
@examples(80)
def test_no_environment_raises_anything_but_a_configuration_error(environ: dict[str, str]) -> None:
    lines: list[str] = []
    try:
        loaded(environ)
    except ConfigError as error:
        lines = list(error.problems)
    assert all(line.isprintable() for line in lines)
