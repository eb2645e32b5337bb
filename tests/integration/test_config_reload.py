"""Every setting, changed in a file and loaded again: a reload applies it, or says that it needs a restart."""

from __future__ import annotations

import itertools
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from harvester.config import Account, Api, Daemon, Database, Log, ProcessApi, Quota, Settings, load
from harvester.config.entries import ACCOUNT, ANY, KNOWN, Keys, leaves
from harvester.config.setting_info import Reload, Scope, SettingInfo, infos
from harvester.daemon.reload import SECTIONS, decide

TABLES: dict[Keys, tuple[type, ...]] = {
    ("database",): (Database,),
    ("api",): (Api, ProcessApi),
    ("quota",): (Quota,),
    ("daemon",): (Daemon,),
    ("log",): (Log,),
    ("defaults",): (Account,),
    ("defaults", "api"): (Api,),
    ("defaults", "quota"): (Quota,),
    ("accounts", ANY): (Account,),
    ("accounts", ANY, "api"): (Api,),
    ("accounts", ANY, "quota"): (Quota,),
}
# Two values of each key, in TOML.
VALUES = {
    "database.url": ('"sqlite:///a.db"', '"sqlite:///b.db"'),
    "schema": ('"a"', '"b"'),
    "auto_migrate": ("true", "false"),
    "base_url": ('"https://a/api"', '"https://b/api"'),
    "api.format": ('"json"', '"xml"'),
    "method": ('"GET"', '"POST"'),
    "timeout": ("1.0", "2.0"),
    "concurrency": ("1", "2"),
    "max_rate": ("1.0", "2.0"),
    "max_days_per_request": ("1", "2"),
    "proxy": ('"http://a"', '"http://b"'),
    "ca_file": ('"a"', '"b"'),
    "limit": ("10", "20"),
    "window": ("1", "2"),
    "reserve": ("1", "2"),
    "refresh": ('"1 * * * *"', '"2 * * * *"'),
    "settle_days": ("1", "2"),
    "listen": ('"a:1"', '"b:1"'),
    "allowed_hosts": ('["a"]', '["b"]'),
    "ping_url": ('"http://a"', '"http://b"'),
    "level": ('"info"', '"debug"'),
    "log.format": ('"console"', '"json"'),
    "login": ('"a"', '"b"'),
    "tool": ('"dev"', '"insight"'),
    "phones": ('["8005550101"]', '["8005550102"]'),
    "phones_file": ('"a"', '"b"'),
    "resources": ('["volume"]', '["events"]'),
    "periods": ('["week"]', '["month"]'),
    "start": ("2024-01-01", "2024-01-02"),
    "timezone": ('"Europe/Vienna"', '"Asia/Tokyo"'),
    "week_start": ('"sunday"', '"monday"'),
    "password": ('"a"', '"b"'),
    "password_file": ('"a"', '"b"'),
    "password_command": ('["a"]', '["b"]'),
}
NEEDED = {"login": '"x"', "phones": '["ALL"]'}


def info_of(keys: Keys) -> SettingInfo:
    (found,) = (
        info for section in TABLES[keys[:-1]] for name, info in infos(section).items() if keys[-1] in {name, *info.more}
    )
    return found


def loaded(directory: Path, keys: Keys, value: str) -> Settings:
    """The settings of a file in which this key has this value; the account has what it cannot do without."""
    written: dict[str, dict[str, str]] = {"accounts.main": {} if keys[0] == "defaults" else dict(NEEDED)}
    if keys[0] == "defaults":
        written["accounts.main"] = {key: text for key, text in NEEDED.items() if key != keys[-1]}
    written.setdefault(".".join(keys[:-1]).replace(ANY, "main"), {})[keys[-1]] = value
    lines = [line for table, pairs in written.items() for line in (f"[{table}]", *map(" = ".join, pairs.items()))]
    path = directory / "c.toml"
    path.write_text("\n".join(lines))
    for name, number in (("a", "8005550103"), ("b", "8005550104")):
        (directory / name).write_text(number)
    return load(path, {}, cwd=directory, home=directory)


@pytest.mark.parametrize("keys", list(leaves(KNOWN)), ids=".".join)
def test_a_reload_applies_a_changed_key_or_names_it(tmp_path: Path, keys: Keys) -> None:
    values = VALUES.get(".".join(keys[-2:])) or VALUES[keys[-1]]
    info = info_of(keys)
    for old, new in itertools.permutations(values):
        started, wanted = loaded(tmp_path, keys, old), loaded(tmp_path, keys, new)
        assert wanted != started
        decision = decide(started, wanted)
        if info.reload is Reload.RESTART:
            name = next(name for section in TABLES[keys[:-1]] for name, each in infos(section).items() if each is info)
            assert decision == (started, (f"{keys[0]}.{name}",))
        else:
            assert decision == (wanted, ())


def test_only_these_keys_need_a_restart() -> None:
    found = {".".join(keys) for keys in leaves(KNOWN) if info_of(keys).reload is Reload.RESTART}
    assert found == {
        *(f"database.{key}" for key in ("url", "schema", "auto_migrate")),
        *(f"database.password{end}" for end in ("", "_file", "_command")),
        *(f"daemon.{key}" for key in ("listen", "allowed_hosts")),
        *(f"log.{key}" for key in ("level", "format")),
    }


def test_every_field_describes_itself() -> None:
    for section in {each for sections in TABLES.values() for each in sections}:
        tables = {"api", "quota"} if section is Account else set()
        described = infos(section)
        assert {item.name for item in fields(section)} - described.keys() == tables
        assert all(info.meaning.endswith(".") for info in described.values())
        (scope,) = {info.scope for info in described.values()}
        assert scope is (Scope.ACCOUNT if section in {Account, Api, Quota} else Scope.PROCESS)
        assert scope is Scope.PROCESS or all(info.reload is Reload.LIVE for info in described.values())


def test_every_table_of_the_process_takes_part_in_a_reload() -> None:
    settings: Any = Settings(database=Database(url="sqlite:////v.db"))
    others = {"source", "accounts", "holding_secrets"}
    assert {item.name for item in fields(Settings)} - others == set(SECTIONS)
    assert {type(getattr(settings, name)) for name in SECTIONS} == {Database, ProcessApi, Daemon, Log}


def test_an_account_knows_the_keys_that_are_its_own_and_no_others() -> None:
    own = {keys[2:] for keys in leaves(KNOWN) if keys[0] == "accounts"}
    assert own == set(leaves(ACCOUNT)) == {keys[1:] for keys in leaves(KNOWN) if keys[0] == "defaults"}
    for keys in leaves(KNOWN):
        shared = keys[0] in {"api", "quota"} and info_of(keys).scope is Scope.ACCOUNT
        assert keys[0] in {"accounts", "defaults"} or (keys in own) is shared


def test_a_line_above_a_password_changes_no_setting(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    text = '[database]\npassword = "x"\n'
    path.write_text(text)
    started = load(path, {}, cwd=tmp_path, home=tmp_path)
    path.write_text(f"# mine\n{text}")
    assert decide(started, load(path, {}, cwd=tmp_path, home=tmp_path)).restart_needed == ()
