"""Search for the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from harvester.config import environment
from harvester.config.database_url import expand_home
from harvester.config.files import untrusted
from harvester.errors import ConfigError

NAME = "config.toml"


class Found(NamedTuple):
    """Result of the search: the file to read, None if the environment alone is the configuration."""

    path: Path | None
    trusted: bool  # the user named it, or it is in a directory for configurations


def find(path: Path | None, environ: Mapping[str, str], *, cwd: Path, home: Path, etc: Path) -> Found:
    """Return the configuration file.

    A file that the user named must exist. One in the current directory must not be writable by other users; otherwise
    it is an error, because ignoring the file silently would surprise the user.

    Raises:
        ConfigError: there is no configuration, or it cannot be trusted.
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
            if not trusted and (reason := untrusted(place)):
                raise ConfigError(reason)
            return Found(place, trusted)
    if environment.settings_in(environ):
        return Found(None, trusted=True)
    looked = ", ".join(f"{place} (permission denied)" if place in blocked else str(place) for place in places)
    raise ConfigError(f"there is no configuration (looked for {looked}): create one with `harvester init`")


def _named(path: Path, by: str) -> Path:
    try:
        path.stat()
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: named by {by}, but does not exist: create it with `harvester init {path}`"
        ) from None
    except (OSError, ValueError):
        return path  # reading it reports what is wrong
    return path


def _user_directory(environ: Mapping[str, str], home: Path) -> Path:
    directory = Path(environ.get("XDG_CONFIG_HOME", ""))
    return directory if directory.is_absolute() else home / ".config"
