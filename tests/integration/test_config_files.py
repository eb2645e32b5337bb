"""Configuration files: where they are found, which are trusted, and how they are merged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from harvester.config import Phone, Settings, load, warnings
from harvester.core.period import Period
from harvester.errors import ConfigError
from tests.support.examples import examples

ACCOUNT = 'login = "me@example.com"\nphones = ["ALL"]\n'
MAIN = f"[accounts.main]\n{ACCOUNT}"
STRANGER = 54321  # a user and a group that do not exist


@pytest.fixture
def box(tmp_path: Path) -> Path:
    for name in ("cwd", "home", "etc"):
        (tmp_path / name).mkdir()
    return tmp_path


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def loaded(box: Path, path: Path | None = None, environ: dict[str, str] | None = None) -> Settings:
    return load(path, environ or {}, cwd=box / "cwd", home=box / "home", etc=box / "etc")


def problems(box: Path, path: Path | None = None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(box, path, environ)
    return list(caught.value.problems)


def test_the_order_of_search(box: Path) -> None:
    xdg = box / "xdg"
    chosen = [
        write(box / "etc/config.toml", MAIN),
        write(box / "home/.config/harvester/config.toml", MAIN),
        write(xdg / "harvester/config.toml", MAIN),
        write(box / "cwd/config.toml", MAIN),
        write(box / "named.toml", MAIN),
        write(box / "explicit.toml", MAIN),
    ]
    named = {"XDG_CONFIG_HOME": str(xdg), "HARVESTER_CONFIG": "../named.toml"}
    assert (loaded(box, Path("../explicit.toml"), named).source or box).samefile(chosen[5])
    assert (loaded(box, environ=named).source or box).samefile(chosen[4])
    del named["HARVESTER_CONFIG"]
    assert loaded(box, environ=named).source == chosen[3]
    chosen[3].unlink()
    assert loaded(box, environ=named).source == chosen[2]
    assert loaded(box, environ={"XDG_CONFIG_HOME": "relative/is/ignored"}).source == chosen[1]
    chosen[1].unlink()
    assert loaded(box).source == chosen[0]
    chosen[0].unlink()
    assert "harvester init" in problems(box)[0]


@pytest.mark.parametrize("by", ["--config", "HARVESTER_CONFIG"])
def test_a_named_file_must_be_there(box: Path, by: str) -> None:
    write(box / "cwd/config.toml", MAIN)
    path = Path("missing.toml")
    (line,) = problems(box, path) if by == "--config" else problems(box, environ={"HARVESTER_CONFIG": str(path)})
    assert f"missing.toml: named by {by}, but does not exist" in line


@pytest.mark.parametrize("kind", ["file", "directory", "accounts.d", "account"])
def test_a_found_file_that_others_may_write_is_refused(box: Path, kind: str) -> None:
    file = write(box / "cwd/config.toml", MAIN)
    account = write(box / "cwd/accounts.d/b.toml", ACCOUNT.replace("me", "b"))
    assert set(loaded(box).accounts) == {"main", "b"}
    bad = {"file": file, "directory": file.parent, "accounts.d": account.parent, "account": account}[kind]
    bad.chmod(bad.stat().st_mode | 0o002)
    lines = problems(box)
    assert any(line.startswith(f"{bad}: other users can write it") and "chmod go-w" in line for line in lines)
    assert problems(box, environ={"HARVESTER_CONFIG": ""}) == lines
    # A file that the user named is trusted.
    assert set(loaded(box, file).accounts) == {"main", "b"}
    assert set(loaded(box, environ={"HARVESTER_CONFIG": str(file)}).accounts) == {"main", "b"}


def test_a_link_is_checked_at_its_target(box: Path) -> None:
    target = write(box / "elsewhere/real.toml", MAIN)
    (box / "cwd/config.toml").symlink_to(target)
    assert "main" in loaded(box).accounts
    target.parent.chmod(0o777)
    assert str(target.parent) in problems(box)[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_found_file_of_another_user_is_refused(box: Path) -> None:
    file = write(box / "cwd/config.toml", MAIN, 0o644)
    os.chown(file, STRANGER, -1)
    assert "belongs to another user" in problems(box)[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_group_counts_as_other_users_unless_it_is_the_owners_own(box: Path) -> None:
    file = write(box / "cwd/config.toml", MAIN, 0o660)
    os.chown(file, 0, 0)
    assert "main" in loaded(box).accounts
    os.chown(file, 0, STRANGER)
    assert "other users can write it" in problems(box)[0]


def test_everything_at_its_place(box: Path) -> None:
    path = write(
        box / "site/h.toml",
        """\ufeff# with a byte order mark
[database]
url = "sqlite:///data/v.db"
[api]
timeout = 10
concurrency = 2
[defaults]
timezone = "America/Chicago"
periods = ["week"]
[defaults.quota]
reserve = 5
[accounts.main]
login = "me@example.com"
phones = ["ALL", 8005551234]
phones_file = "phones.txt"
password_file = "~/secret"
start = 2024-01-01
[accounts.main.api]
timeout = 20
""",
    )
    write(box / "site/phones.txt", "8005551234 Sales\n8005551235\n")
    write(
        box / "site/accounts.d/b-2.toml",
        'login = "b"\nphones_file = "b.txt"\nperiods = ["day"]\npassword_file = "b.password"\n[quota]\nlimit = 20\n',
    )
    write(box / "site/accounts.d/b.txt", "ALL\n")
    write(box / "site/accounts.d/.#b.toml", "not TOML")
    variables = {"HARVESTER_ACCOUNTS__B_2__PERIODS": "month", "HARVESTER_ACCOUNTS__MAIN__PASSWORD_FILE": "x"}
    found = loaded(box, path, variables)
    main, second = found.accounts["main"], found.accounts["b-2"]
    assert found.database.path == box / "site/data/v.db"
    assert main.phones == (Phone("ALL"), Phone("8005551234", "Sales"), Phone("8005551235"))
    assert (main.timezone, main.periods) == ("America/Chicago", (Period.WEEK,))
    assert (main.api.timeout, second.api.timeout, found.api.concurrency) == (20, 10, 2)
    assert (main.quota.limit, main.quota.reserve) == (150, 5)
    assert main.password.files is not None
    assert main.password.files.file == box / "home/secret"
    assert main.password.environment is not None
    assert main.password.environment.file == box / "cwd/x"
    assert second.phones == (Phone("ALL"),)
    assert second.periods == (Period.MONTH,)
    assert (second.quota.limit, second.quota.reserve) == (20, 5)
    assert second.password.files is not None
    assert second.password.files.file == box / "site/accounts.d/b.password"


def test_every_mistake_at_once_each_with_its_line(box: Path) -> None:
    path = write(
        box / "c.toml",
        """timezone = "Europe/Vienna"
[database]
url = "sqlite://"
[api]
timeot = 3
format = "jsn"
retries = { most = 3 }
[daemon]
refresh = "61 * * * *"
allowed_hosts = "localhost"
[log]
level = 3
[defaults]
timezone = "America/New York"
[accounts.main]
phones = ["800 555 123", 8005551234]
phones_file = "phones.txt"
start = "2024-02-30"
api = 3
password = "hunter2"
password_command = ["pass"]
[accounts.Bad]
[accounts.b]
login = 3
password_command = "pass show x"
phones = "ALL"
""",
    )
    write(box / "phones.txt", "# phones\nnumber;name\n")
    write(box / "accounts.d/c.toml", "nothing = 1\n")
    lines = problems(box, path)
    c = f"{path}:"
    for start in (
        f'{c}1: timezone: unknown table "timezone"; it belongs in [defaults]',
        f"{c}3: database.url: a database in memory",
        f'{c}5: api.timeot: unknown key "timeot"; did you mean timeout?',
        f'{c}6: api.format: "jsn" is none of json, xml; did you mean json?',
        f'{c}7: api.retries: unknown key "retries"; known here: base_url',
        f"{c}9: daemon.refresh: the minute must be 0 to 59",
        f"{c}10: daemon.allowed_hosts: must be a list",
        f"{c}12: log.level: 3 is none of debug",
        f'{c}14: defaults.timezone: "America/New York" is not a time zone; did you mean America/New_York?',
        f"{c}15: accounts.main.login: is missing",
        f'{c}16: accounts.main.phones[1]: "800 555 123" has 9 digits',
        f'{box}/phones.txt:2: "number;name" is not a phone number',
        f'{c}18: accounts.main.start: "2024-02-30" is not in the calendar',
        f"{c}19: accounts.main.api: must be a table: [accounts.main.api]",
        f"{c}21: accounts.main.password_command: give one of password",
        f"{c}22: accounts.Bad: the name of an account has",
        f"{c}24: accounts.b.login: must be text",
        f"{c}25: accounts.b.password_command: must be a list of a program",
        f"{c}26: accounts.b.phones: must be a list",
        f'{box}/accounts.d/c.toml:1: nothing: unknown key "nothing"',
        f"{box}/accounts.d/c.toml: login: is missing",
        f"{box}/accounts.d/c.toml: phones: is missing",
    ):
        matching = [line for line in lines if line.startswith(start)]
        assert len(matching) == 1, (start, lines)
    assert len(lines) == 22
    assert "hunter2" not in "".join(lines)


def test_an_account_cannot_override_a_setting_of_the_process(box: Path) -> None:
    path = write(
        box / "c.toml",
        f"[api]\nconcurrency = 4\n[defaults.api]\nconcurrency = 2\n{MAIN}[accounts.main.api]\nconcurrency = 2\n"
        "[accounts.main.daemon]\nsettle_days = 2\n",
    )
    write(box / "accounts.d/b.toml", f"{ACCOUNT.replace('me', 'b')}[api]\nconcurrency = 2\n")
    remedy = "concurrency is for the whole process; set it in [api]"
    assert problems(box, path) == [
        f"{path}:4: defaults.api.concurrency: {remedy}",
        f"{path}:9: accounts.main.api.concurrency: {remedy}",
        f"{path}:10: accounts.main.daemon: daemon is for the whole process; set it in [daemon]",
        f"{box}/accounts.d/b.toml:4: api.concurrency: {remedy}",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[api\n", "is not TOML"),
        (b"x = 1\nx = 2\n", "line 2"),
        (b"x = \xff\n", "line 1 is not UTF-8"),
        (b"x = " + b"9" * 5000, "TOML that cannot be a configuration"),
        (b"x = " + b"[" * 100_000, "TOML that cannot be a configuration"),
    ],
)
def test_a_broken_file_is_reported_once_without_consequences(box: Path, content: bytes, words: str) -> None:
    path = box / "c.toml"
    path.write_bytes(content)
    (line,) = problems(box, path, {"HARVESTER_ACCOUNTS__MAIN__PASSWORD": "x"})
    assert line.startswith(str(path))
    assert words in line
    path.write_text(MAIN)
    (path.parent / "accounts.d").mkdir()
    (path.parent / "accounts.d/b.toml").write_bytes(content)
    (line,) = problems(box, path)
    assert line.startswith(f"{box}/accounts.d/b.toml")


def test_a_directory_or_a_file_in_the_wrong_place_is_reported(box: Path) -> None:
    assert "Is a directory" in problems(box, box)[0]
    path = write(box / "c.toml", MAIN)
    write(box / "accounts.d", "a file")
    assert "Not a directory" in problems(box, path)[0]


def test_one_account_in_two_files_is_refused(box: Path) -> None:
    path = write(box / "c.toml", MAIN)
    write(box / "accounts.d/main.toml", ACCOUNT)
    (line,) = problems(box, path)
    assert str(box / "accounts.d/main.toml") in line
    assert "already defined" in line
    assert str(path) in line


def test_two_names_for_one_phone_are_refused(box: Path) -> None:
    path = write(box / "c.toml", '[accounts.main]\nlogin = "x"\nphones_file = "p"\n')
    write(box / "p", "8005551234 Sales\n+1 800 555 1234 Support\n")
    assert "two names" in problems(box, path)[0]


def test_mistakes_in_defaults_are_reported_without_any_account(box: Path) -> None:
    path = write(box / "c.toml", '[defaults]\nstart = "soon"\nphones = ["1"]\n[defaults.api]\ntimeout = 0\n')
    assert [line.split(": ")[1] for line in problems(box, path)] == [
        "defaults.phones[1]",
        "defaults.start",
        "defaults.api.timeout",
    ]


def test_a_message_is_printable_whatever_the_file_contains(box: Path) -> None:
    path = write(box / "c.toml", '["\\u001b[31m\\n"]\n')
    (line,) = problems(box, path)
    assert line.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        '[database]\nurl = "postgresql://u:hunter2@h/db"\n',
        '[database]\npassword = "hunter2"\n',
        '[api]\nproxy = "http://u:hunter2@h:1"\n',
        f'{MAIN}password = "hunter2"\n',
    ],
)
def test_a_file_that_contains_a_secret_must_be_private(box: Path, text: str) -> None:
    path = write(box / "c.toml", text)
    assert warnings(loaded(box, path)) == []
    path.chmod(0o604)
    (line,) = warnings(loaded(box, path))
    assert line.startswith(f"{path}: other users can read it")
    assert "chmod 600" in line
    write(path, MAIN, 0o644)
    assert warnings(loaded(box, path)) == []


def test_a_secret_file_must_be_private(box: Path) -> None:
    secret = write(box / "s", "hunter2", 0o604)
    path = write(box / "c.toml", f'[database]\npassword_file = "s"\n{MAIN}password_file = "s"\n', 0o644)
    (line,) = warnings(loaded(box, path))
    assert line.startswith(f"{secret}: other users can read it")
    secret.chmod(0o600)
    assert warnings(loaded(box, path)) == []
    secret.unlink()
    assert warnings(loaded(box, path)) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_group_that_root_chose_may_read_a_secret(box: Path) -> None:
    secret = write(box / "s", "hunter2", 0o640)
    path = write(box / "c.toml", f'{MAIN}password_file = "s"\n')
    os.chown(secret, 0, STRANGER)
    assert warnings(loaded(box, path)) == []
    os.chown(secret, STRANGER, STRANGER)
    assert len(warnings(loaded(box, path))) == 1


LINES = st.sampled_from(
    [
        "[database]",
        "[api]",
        "[accounts.main]",
        "[accounts.main.api]",
        "[defaults]",
        "[[accounts]]",
        'url = "sqlite://x"',
        "timeout = 1e400",
        "timeout = inf",
        'phones = ["ALL", 1, [], {}]',
        "phones = {}",
        "start = 2024-01-01T00:00:00Z",
        "start = 00:00:00",
        'timezone = ""',
        'login = "\\u0000"',
        "password = []",
        "password_command = [1]",
        'ca_file = "\\u0000"',
        'phones_file = "/"',
        "a.b.c = 1",
    ]
)


@given(st.lists(LINES, max_size=8).map("\n".join) | st.text(max_size=40))
@examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_raises_anything_but_a_configuration_error(box: Path, text: str) -> None:
    path = box / "c.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    lines: list[str] = []
    try:
        loaded(box, path)
    except ConfigError as error:
        lines = list(error.problems)
    assert all(line.isprintable() for line in lines)
