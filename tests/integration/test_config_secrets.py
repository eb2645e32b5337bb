"""Passwords: their precedence, and that no message contains one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from harvester.config import Settings, database_password, load, password, secrets
from harvester.errors import ConfigError

CANARY = "hunter2"


def configured(directory: Path, keys: str = "", environ: dict[str, str] | None = None) -> Settings:
    path = directory / "c.toml"
    path.write_text(f'[accounts.my-site]\nlogin = "x"\nphones = ["ALL"]\n{keys}\n')
    return load(path, environ or {}, cwd=directory, home=directory)


def resolved(directory: Path, keys: str = "", environ: dict[str, str] | None = None) -> str:
    return password("my-site", configured(directory, keys, environ), environ or {})


def refused(directory: Path, keys: str = "", environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        resolved(directory, keys, environ)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def command(script: str) -> str:
    return f"password_command = {[sys.executable, '-c', script]!r}"


def test_the_environment_precedes_credentials_and_these_the_files(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    keys = 'password = "from the file"'
    variable = {"HARVESTER_ACCOUNTS__MY_SITE__PASSWORD": "from the environment"}
    directory = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert resolved(tmp_path, keys, directory) == "from the file"
    (credentials / "harvester_my-site.password").write_text("from a directory\n")
    assert resolved(tmp_path, keys, directory) == "from a directory"
    (credentials / "my-site.password").write_text("from a credential\n")
    assert resolved(tmp_path, keys, directory) == "from a credential"
    assert resolved(tmp_path, keys, directory | variable) == "from the environment"


def test_an_account_takes_precedence_over_the_defaults(tmp_path: Path) -> None:
    defaults = '[defaults]\npassword = "everybody\'s"'
    assert resolved(tmp_path, defaults) == "everybody's"
    assert resolved(tmp_path, f'password = "mine"\n{defaults}') == "mine"
    theirs = {"HARVESTER_DEFAULTS__PASSWORD": "theirs"}
    assert resolved(tmp_path, 'password = "mine"', theirs) == "mine"
    assert resolved(tmp_path, environ=theirs) == "theirs"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a b\n", "a b"),
        (b"a\r\n", "a"),
        (b"a\n\n", "a"),
        (b"a\r\n\r\n", "a"),
        (b"\xef\xbb\xbfa\r\n", "a"),
        (" \N{EURO SIGN} ".encode(), " \N{EURO SIGN} "),
    ],
)
def test_a_file_loses_its_line_ends_and_byte_order_mark_and_nothing_else(
    tmp_path: Path, content: bytes, found: str
) -> None:
    (tmp_path / "s").write_bytes(content)
    assert resolved(tmp_path, 'password_file = "s"') == found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"hunter2\xff", "not UTF-8"),
        (b"hunter2\0", "NUL"),
        (b"hunter2\nsecond\n", "more than one line"),
        (b"\nhunter2\n", "more than one line"),
        (b"\xef\xbb\xbf\n", "is empty"),
        ("hunter2\n".encode("utf-16"), "not UTF-8"),
        (b"hunter2" * 20_000, "too long"),
        (None, "No such file"),
    ],
)
def test_a_bad_secret_file_is_reported_without_its_content(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "s").write_bytes(content)
    line = refused(tmp_path, 'password_file = "s"')
    assert words in line
    assert "accounts.my-site.password_file" in line


def test_no_secret_is_read_before_it_is_needed(tmp_path: Path) -> None:
    keys = command("open('ran', 'w')")
    configured(tmp_path, keys)
    assert not (tmp_path / "ran").exists()
    assert "is empty" in refused(tmp_path, keys)
    assert (tmp_path / "ran").exists()  # in the configuration's directory


def test_a_missing_password_is_reported_with_the_variable_to_set(tmp_path: Path) -> None:
    assert "HARVESTER_ACCOUNTS__MY_SITE__PASSWORD" in refused(tmp_path)


def test_a_variable_with_a_line_end_is_refused(tmp_path: Path) -> None:
    name = "HARVESTER_ACCOUNTS__MY_SITE__PASSWORD"
    assert refused(tmp_path, environ={name: "hunter2\n"}).startswith(f"{name}: the password has more than one line")


def test_an_empty_variable_is_refused(tmp_path: Path) -> None:
    assert "is empty" in refused(tmp_path, 'password = "x"', {"HARVESTER_ACCOUNTS__MY_SITE__PASSWORD": ""})


def test_the_first_line_of_a_command_is_the_password(tmp_path: Path) -> None:
    assert resolved(tmp_path, command("print('a b\\nsecond line\\n' + 'x' * 200_000)")) == "a b"


def test_a_command_may_print_a_byte_order_mark(tmp_path: Path) -> None:
    assert resolved(tmp_path, command("print('\\ufeffa b')")) == "a b"


def test_a_command_sees_the_environment(tmp_path: Path) -> None:
    assert resolved(tmp_path, command("import os; print(os.environ['TOKEN'])"), {"TOKEN": "t"}) == "t"


def test_a_command_does_not_see_other_passwords(tmp_path: Path) -> None:
    environ = {
        "HARVESTER_ACCOUNTS__OTHER__PASSWORD": "theirs",
        "HARVESTER_DEFAULTS__PASSWORD": "theirs",
        "HARVESTER_DATABASE__PASSWORD": "theirs",
        "HARVESTER_SIMULATE_PASSWORD": "theirs",
        "HARVESTER_DATABASE__URL": "postgresql://me:theirs@db/figures",
        "HARVESTER_API__PROXY": "http://me:theirs@proxy:3128",
        "HARVESTER_API__TIMEOUT": "60",
        "PATH": os.environ["PATH"],
    }
    settings = configured(tmp_path, command("import os; print(*sorted(set(os.environ) - {'LC_CTYPE'}))"))
    assert password("my-site", settings, environ) == "HARVESTER_API__TIMEOUT PATH"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (command("print('hunter2'); raise SystemExit(3)"), "exit code 3"),
        (command("import os; print('hunter2', flush=True); os.kill(os.getpid(), 9)"), "signal 9"),
        (command("import sys; sys.exit('hunter2')"), "exit code 1"),
        ('password_command = ["./no-such-program", "hunter2"]', "No such file"),
        (command("pass"), "is empty"),
        (command("import sys; sys.stdout.buffer.write(b'hunter2\\xff\\n')"), "not UTF-8"),
    ],
)
def test_a_failing_command_is_reported_without_its_output(tmp_path: Path, keys: str, words: str) -> None:
    assert words in refused(tmp_path, keys)


def test_a_command_that_does_not_end_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "COMMAND_TIMEOUT_SECONDS", 0.3)
    script = "sh -c 'echo $$ > child; exec sleep 60'; true"
    assert "did not end within 0.3 s" in refused(tmp_path, f"password_command = {['sh', '-c', script]!r}")
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path("/proc", str(process), "stat").read_text().rpartition(") ")[2][0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_the_password_of_the_database(tmp_path: Path) -> None:
    assert database_password(configured(tmp_path), {}) is None
    with_file = configured(tmp_path, '[database]\npassword_file = "s"')
    (tmp_path / "s").write_text("from the file\n")
    assert database_password(with_file, {}) == "from the file"
    (tmp_path / "database.password").write_text("from a credential\n")
    assert database_password(with_file, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "from a credential"
    environ = {"HARVESTER_DATABASE__PASSWORD": "from the environment"}
    assert database_password(configured(tmp_path, environ=environ), environ) == "from the environment"
