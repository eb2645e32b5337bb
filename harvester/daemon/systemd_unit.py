"""The systemd unit, filled in for this installation."""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from importlib.resources import files
from pathlib import Path

from harvester.errors import UsageError

# What ProtectHome= and PrivateTmp= take out of the service's sight.
_HIDDEN = tuple(Path(path) for path in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))  # noqa: S108 - named only
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")


def unit(*, user: str, program: tuple[str, ...], config: Path) -> str:
    """The unit's text.

    Args:
        user: whom the service runs as.
        program: the absolute command that starts the harvester.
        config: absolute, too.

    Raises:
        UsageError: one of them cannot stand in a unit.
    """
    if not _USER.fullmatch(user):
        raise UsageError(f"{user!r} cannot be a user's name: lower-case letters, digits, - and _, at most 31")
    template = (files("harvester") / "systemd" / "harvester.service").read_text(encoding="utf-8")
    values = {
        "USER": user,
        "CONFIG": str(config),
        "EXEC": " ".join(_quoted(word) for word in (_plain(program[0]), *program[1:], "--config", str(config), "run")),
        "KILL": shutil.which("kill", path="/usr/bin:/bin") or "/bin/kill",
    }
    return re.sub(r"@([A-Z]+)@", lambda place: values[place[1]], template)


def installed_command() -> tuple[str, ...]:
    """How this very installation is started, whatever PATH holds. Links are kept: an upgrade may move their ends."""
    for place in (Path(sys.argv[0]), Path(sysconfig.get_path("scripts")) / "harvester"):
        if place.name == "harvester" and place.is_file():
            return (str(place.absolute()),)
    return (sys.executable, "-m", "harvester")


def out_of_reach(program: tuple[str, ...], config: Path) -> list[str]:
    """What the unit would hide from the service, a line each."""
    things = ((Path(program[0]), "install the program elsewhere, say in /opt"), (config, "keep it in /etc/harvester"))
    return [
        f"the unit hides {path} from the service: {what}"
        for path, what in things
        if any(path.is_relative_to(hidden) for hidden in _HIDDEN)
    ]


def _plain(path: str) -> str:
    """The program itself: systemd refuses some characters in its path, however they are quoted.

    Raises:
        UsageError: it holds one of them.
    """
    if any(character in path for character in "\"'\\$"):
        raise UsageError(f"systemd starts no program from {path}: install it under a plainer path")
    return path


def _quoted(word: str) -> str:
    """A word of ExecStart=, which knows quotes, escapes, %specifiers and $variables.

    Raises:
        UsageError: no quoting can carry it.
    """
    if not word.isprintable():
        raise UsageError(f"{word!r} cannot stand in a unit")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[\w./%$@:+=-]+", escaped, re.ASCII) else f'"{escaped}"'
