"""systemd unit of the service, filled in for this installation."""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from importlib.resources import files
from pathlib import Path

from harvester.errors import UsageError

# Hidden from the service by ProtectHome= and PrivateTmp=.
_HIDDEN = tuple(Path(path) for path in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))  # noqa: S108 - named only
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")


def unit(*, user: str, program: tuple[str, ...], config: Path) -> str:
    """Return the text of the unit.

    Args:
        user: the user that the service runs as.
        program: the absolute command that starts the harvester.
        config: the absolute path of the configuration.

    Raises:
        UsageError: one of them cannot be written in a unit.
    """
    if not _USER.fullmatch(user):
        raise UsageError(
            f"{user!r} is not a valid user name: use lower-case letters, digits, - and _, at most 31 characters"
        )
    template = (files("harvester") / "systemd" / "harvester.service").read_text(encoding="utf-8")
    values = {
        "USER": user,
        "CONFIG": str(config),
        "EXEC": " ".join(
            _quote(word) for word in (_check_program(program[0]), *program[1:], "--config", str(config), "run")
        ),
        "KILL": shutil.which("kill", path="/usr/bin:/bin") or "/bin/kill",
    }
    return re.sub(r"@([A-Z]+)@", lambda place: values[place[1]], template)


def installed_command() -> tuple[str, ...]:
    """Return the command that starts this installation, independent of PATH.

    Links are not resolved, since an upgrade may change their targets.
    """
    for place in (Path(sys.argv[0]), Path(sysconfig.get_path("scripts")) / "harvester"):
        if place.name == "harvester" and place.is_file():
            return (str(place.absolute()),)
    return (sys.executable, "-m", "harvester")


def hidden_paths(program: tuple[str, ...], config: Path) -> list[str]:
    """Return a warning for each path that the unit hides from the service."""
    paths = (
        (Path(program[0]), "install the program elsewhere, for example in /opt"),
        (config, "move it to /etc/harvester"),
    )
    return [
        f"the unit hides {path} from the service: {advice}"
        for path, advice in paths
        if any(path.is_relative_to(hidden) for hidden in _HIDDEN)
    ]


def _check_program(path: str) -> str:
    """Return the program's path, in which systemd refuses some characters even when they are quoted.

    Raises:
        UsageError: the path contains one of them.
    """
    if any(character in path for character in "\"'\\$"):
        raise UsageError(f"systemd cannot start {path}: install the program under a path without quotes, \\ and $")
    return path


def _quote(word: str) -> str:
    """Return a word quoted for ExecStart=, which expands quotes, escapes, %specifiers and $variables.

    Raises:
        UsageError: the word cannot be quoted.
    """
    if not word.isprintable():
        raise UsageError(f"{word!r} cannot be written in a unit: it contains a character that is not printable")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[\w./%$@:+=-]+", escaped, re.ASCII) else f'"{escaped}"'
