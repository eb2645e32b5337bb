"""Which file is the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from harvester.config import environment
from harvester.config.database_url import expand_home
from harvester.config.files import distrust
from harvester.errors import ConfigError

NAME = "config.toml"


class Found(NamedTuple):
    """The file to read, None where the environment alone configures."""

    path: Path | None
    trusted: bool  # somebody named it, or it lies where only the right people write


def find(path: Path | None, environ: Mapping[str, str], *, cwd: Path, home: Path, etc: Path) -> Found:
    """Look for the configuration.

    A file that is named must be there. One that is found in the current directory must be one that nobody else
    may write; if not, that is an error: to pass over it silently would surprise whoever wrote it.

    Raises:
        ConfigError: there is none, or none to be trusted.
    """
    named = path or environ.get(environment.FILE)
    if named:
        by = environment.FILE if path is None else "--config"
        return Found(_named(cwd / expand_home(str(named), home), by), trusted=True)
    places = [cwd / NAME, _user_directory(environ, home) / "harvester" / NAME, etc / NAME]
    blocked = []
    for place in places:
        try:
            place.stat()
        except PermissionError:
            blocked.append(place)
        except (OSError, ValueError):
            continue
        else:
            trusted = place is not places[0]
            if not trusted and (reason := distrust(place)):
                raise ConfigError(reason)
            return Found(place, trusted)
    if environment.settings_in(environ):
        return Found(None, trusted=True)
    looked = ", ".join(f"{place} (permission denied)" if place in blocked else str(place) for place in places)
    raise ConfigError(f"there is no configuration: `harvester init` writes one to begin with (looked for {looked})")


def _named(path: Path, by: str) -> Path:
    try:
        path.stat()
    except FileNotFoundError:
        raise ConfigError(f"{path}: does not exist, and {by} names it: `harvester init {path}` writes one") from None
    except (OSError, ValueError):
        return path  # reading it will say what is wrong
    return path


def _user_directory(environ: Mapping[str, str], home: Path) -> Path:
    directory = Path(environ.get("XDG_CONFIG_HOME", ""))
    return directory if directory.is_absolute() else home / ".config"
