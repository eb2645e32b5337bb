"""The printed unit, checked with systemd's own tools."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harvester.cli.systemd_unit import systemd_unit
from harvester.daemon.systemd_unit import installed_command, unit
from harvester.errors import UsageError

MAX_EXPOSURE = 15  # tenths of systemd's exposure level

MISSING = shutil.which("systemd-analyze") is None


@pytest.fixture
def analyze() -> str:
    """systemd's checker; the test is skipped where it is missing."""
    if MISSING and os.environ.get("CI") == "true":
        pytest.fail("systemd-analyze is missing")
    if MISSING:
        pytest.skip("SYSTEMD-ANALYZE IS MISSING: the unit is not checked")
    return "systemd-analyze"


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(systemd_unit, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment, method-assign] # systemd's keys have capitals
    parser.read_string(text)
    return parser


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def saved(text: str, folder: Path) -> Path:
    path = folder / "harvester.service"
    path.write_text(text)
    return path


def test_systemd_accepts_it(analyze: str, tmp_path: Path) -> None:
    path = saved(printed("--quiet"), tmp_path)
    result = run(analyze, "verify", path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_systemd_would_report_an_error(analyze: str, tmp_path: Path) -> None:
    # Without this the test above could pass because the tool checks nothing.
    path = saved(printed("--quiet").replace("Type=notify", "Type=telegraph"), tmp_path)
    result = run(analyze, "verify", path)
    assert "telegraph" in result.stdout + result.stderr


def test_its_exposure_is_low(analyze: str, tmp_path: Path) -> None:
    path = saved(printed("--quiet"), tmp_path)
    result = run(analyze, "security", "--no-pager", "--offline=true", f"--threshold={MAX_EXPOSURE}", path)
    assert result.returncode == 0, result.stdout
    assert "Overall exposure level" in result.stdout


def test_it_starts_this_installation_by_its_absolute_path() -> None:
    service = parsed(printed())["Service"]
    program = Path(service["ExecStart"].split()[0])
    assert program.is_absolute()
    assert program.name == "harvester"
    assert program.parent == Path(sys.executable).parent
    assert service["ExecStart"].endswith(" --config /etc/harvester/config.toml run")
    assert os.access(service["ExecReload"].split()[0], os.X_OK)


def test_it_has_the_settings_that_the_daemon_relies_on() -> None:
    service = parsed(printed())["Service"]
    assert service["Type"] == "notify"
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "74 77 78"
    assert service["LoadCredential"] == "harvester:/etc/harvester/secrets"
    assert service["StateDirectory"] == "harvester"
    assert service["WorkingDirectory"] == "%S/harvester"
    assert int(service["WatchdogSec"]) > 0
    assert int(service["TimeoutStopSec"]) > 10  # seconds that finishing requests may take
    assert service["User"] == "harvester"


def test_user_and_configuration_can_be_chosen() -> None:
    text = printed("--user", "plum_2", "--config", "/srv/plum/harvester.toml")
    service = parsed(text)["Service"]
    assert service["User"] == "plum_2"
    assert service["ExecStart"].endswith(" --config /srv/plum/harvester.toml run")
    assert not re.search("@[A-Z]", text)


@pytest.mark.parametrize("user", ["", "Plum", "a b", "1st", "x\nExecStartPre=/bin/false", "%n", "a" * 40])
def test_an_invalid_user_is_refused(user: str) -> None:
    result = CliRunner().invoke(systemd_unit, ["--user", user])
    assert isinstance(result.exception, UsageError)
    assert result.stdout == ""


def test_a_path_that_the_unit_hides_is_warned_about(tmp_path: Path) -> None:
    path = f"/home/somebody{tmp_path}/config.toml"
    result = CliRunner().invoke(systemd_unit, ["--config", path])
    assert f"hides {path}" in result.stderr
    assert "warning" not in result.stdout


def test_unusual_paths_are_parsed_correctly_by_systemd(analyze: str, tmp_path: Path) -> None:
    odd = tmp_path / "a b%h*~"
    odd.mkdir()
    program = odd / "harvester"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = saved(unit(user="harvester", program=(str(program),), config=Path("/etc/x y%h.toml")), tmp_path)
    result = run(analyze, "verify", path)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("character", ["'", '"', "\\", "$"])
def test_a_program_that_systemd_would_not_start_is_refused(character: str) -> None:
    with pytest.raises(UsageError, match="systemd cannot start"):
        unit(user="harvester", program=(f"/opt/a{character}b/harvester",), config=Path("/etc/harvester/config.toml"))


def test_arguments_are_quoted_for_systemd() -> None:
    text = unit(user="harvester", program=("/opt/harvester",), config=Path('/etc/50% "$x" \\y.toml'))
    assert r'--config "/etc/50%% \"$$x\" \\y.toml" run' in text


def test_a_path_with_a_line_break_is_refused() -> None:
    with pytest.raises(UsageError):
        unit(user="harvester", program=("/opt/harvester",), config=Path("/etc/x\nUser=root"))


def test_run_as_a_module_it_names_a_command_that_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(Path("harvester/__main__.py").absolute())])
    assert run(*installed_command(), "--version").stdout.startswith("harvester")
