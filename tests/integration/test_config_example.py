"""config.example.toml: complete, correct, and equal to what `harvester init` writes."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from harvester.cli.init import init
from harvester.config import Account, Daemon, Database, Log, Phone, ProcessApi, load, warnings
from harvester.config.entries import ANY, KNOWN, leaves
from harvester.errors import UsageError

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "config.example.toml").read_text(encoding="utf-8")
COMMENTED_OUT = re.compile(r"^# ?(?=\[[a-z.]+\]$|[a-z_]+ = )", re.MULTILINE)


def keys_of(table: Mapping[str, object], prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for key, value in table.items():
        found |= keys_of(value, (*prefix, key)) if isinstance(value, dict) else {(*prefix, key)}
    return found


def test_it_loads(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(EXAMPLE)
    found = load(path, {}, cwd=tmp_path, home=tmp_path)
    assert list(found.accounts) == ["main"]
    assert warnings(found) == []


def test_every_key_is_in_it() -> None:
    written = keys_of(tomllib.loads(COMMENTED_OUT.sub("", EXAMPLE)))
    own = {keys[2:] for keys in written if keys[0] == "accounts"} | {
        keys[1:] for keys in written if keys[0] == "defaults"
    }
    for keys in leaves(KNOWN):
        if keys[0] == "accounts" and len(keys) == 3:
            assert keys[2:] in own, keys
        elif keys[0] != "defaults" and ANY not in keys:
            assert keys in written, keys
    assert ("accounts", "main", "api", "timeout") in written
    assert ("accounts", "main", "quota", "reserve") in written


def test_every_default_in_it_is_the_real_one(tmp_path: Path) -> None:
    account = Account(name="main", login="x", phones=(Phone("ALL"),))
    database = Database(url=f"sqlite:///{tmp_path}/voicetrends.db")
    real = {"database": database, "api": ProcessApi(), "daemon": Daemon(), "log": Log()}
    path = tmp_path / "c.toml"
    path.write_text(re.sub(r"(?s)\[accounts.main\].*", "", EXAMPLE))
    variables = {"HARVESTER_ACCOUNTS__MAIN__LOGIN": "x", "HARVESTER_ACCOUNTS__MAIN__PHONES": "ALL"}
    written = load(path, variables, cwd=tmp_path, home=tmp_path)
    assert written.accounts == {"main": account}
    assert {name: getattr(written, name) for name in real} == real
    defaults = tomllib.loads(EXAMPLE)["defaults"]
    assert defaults == {
        key: list(value) if isinstance(value := getattr(account, key), tuple) else value for key in defaults
    }


def test_an_empty_file_means_the_same(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("")
    empty = load(path, {}, cwd=tmp_path, home=tmp_path)
    path.write_text(re.sub(r"(?s)\[accounts.main\].*", "", EXAMPLE))
    assert load(path, {}, cwd=tmp_path, home=tmp_path) == empty


def test_init_writes_a_file_that_only_the_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "new/c.toml"
    result = CliRunner().invoke(init, [str(path)])
    assert result.exit_code == 0
    assert path.read_text(encoding="utf-8") == EXAMPLE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"--config {path} check" in result.output


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "config.toml"),
        (["--config", "a.toml"], "a.toml"),
        (["--config", "a.toml", "b.toml"], "b.toml"),
    ],
)
def test_init_writes_the_file_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(init, arguments).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == EXAMPLE


@pytest.mark.parametrize("kind", ["file", "broken link", "directory", "no directory"])
def test_init_never_writes_over_anything(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "c.toml"
    if kind == "file":
        path.write_text("mine")
    elif kind == "broken link":
        path.symlink_to("elsewhere")
    elif kind == "directory":
        path.mkdir()
    else:
        (tmp_path / "x").write_text("mine")
        path = tmp_path / "x/c.toml"
    result = CliRunner().invoke(init, [str(path)])
    assert isinstance(result.exception, UsageError)
    assert str(path) in str(result.exception)
    assert not (tmp_path / "elsewhere").exists()
    assert kind != "file" or path.read_text() == "mine"
