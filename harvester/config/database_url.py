"""Database URLs as text: normal form, validation, file of an SQLite URL. No database library is needed.

Valid are `sqlite:///` with an absolute path, and what libpq reads. The driver is the program's choice, not the URL's.
The store uses the same validation, so a URL is refused in the same words wherever it comes from.
"""

from __future__ import annotations

import re
from pathlib import Path

from harvester.config.wording import hint, quoted
from harvester.redaction import hide_url_password

_SQLITE, _POSTGRESQL = "sqlite:///", "postgresql://"
_ALIAS = "postgres://"
_SCHEME = re.compile(r"([a-z][a-z0-9]*)(\+[a-z0-9_]+)?(://.*)?", re.IGNORECASE | re.DOTALL)
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f]")
_REMEDY = 'write "sqlite:///FILE" or "postgresql://USER@HOST/DATABASE"'


def locate(url: str, *, base: Path, home: Path) -> str:
    """Return the URL in its normal form: a relative SQLite file is placed under `base`, `~/` under `home`.

    Raises:
        ValueError: the URL is not valid; the message does not contain it.
    """
    scheme, colon, rest = url.partition("://")
    url = scheme.lower() + colon + rest
    if url.startswith(_ALIAS):
        url = _POSTGRESQL + url.removeprefix(_ALIAS)
    if url.startswith(_SQLITE):
        path = url.removeprefix(_SQLITE)
        _check_sqlite(path)
        return _SQLITE + str(base / expand_home(path, home))
    return validate(url)


def validate(url: str) -> str:
    """Check a URL in its normal form and return it.

    Raises:
        ValueError: the URL is not valid, or its path is relative; the message does not contain it.
    """
    if url.startswith(_POSTGRESQL):
        _check_postgresql(url)
    elif url.startswith(_SQLITE):
        _check_sqlite(url.removeprefix(_SQLITE))
        if not url.startswith(_SQLITE + "/"):
            raise ValueError("the path of the SQLite file must be absolute here")
    else:
        raise ValueError(_refused_scheme(url))
    return url


def sqlite_path(url: str) -> Path | None:
    """Return the file of an SQLite URL in its normal form, None for another URL."""
    return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None


def holds_password(url: str) -> bool:
    """Return True if the URL contains a password."""
    return hide_url_password(url) != url


def expand_home(path: str, home: Path) -> Path:
    """Return the path with `~` and `~/...` replaced as in a shell."""
    if path == "~" or path.startswith("~/"):
        return home / path[2:]
    return Path(path)


def _check_sqlite(path: str) -> None:
    if path in {"", ":memory:"} or path.startswith("file:"):
        raise ValueError('a database in memory stores nothing: name a file, like "sqlite:///voicetrends.db"')
    if "?" in path:
        raise ValueError("options after ? are not supported for SQLite")
    if path.endswith("/"):
        raise ValueError("names a directory: an SQLite database is a file")
    if "\0" in path:
        raise ValueError("contains an unprintable character")


def _check_postgresql(url: str) -> None:
    if _UNPRINTABLE.search(url):
        raise ValueError("contains a blank or an unprintable character: percent-encode it (%20)")
    server = url.removeprefix(_POSTGRESQL).partition("?")[0]
    user, at, rest = server.partition("@")
    if "@" in rest or (at and "/" in user):
        raise ValueError("login and password contain @ or /: write them as %40 and %2F")


def _refused_scheme(url: str) -> str:
    match = _SCHEME.fullmatch(url)
    scheme = match[1].lower() if match and match[3] else ""
    if scheme in {"postgresql", "postgres", "sqlite"} and match and match[2]:
        return f'the driver cannot be chosen: write "{scheme}://" without {quoted(match[2])}'
    if scheme == "sqlite":
        return 'a database in memory stores nothing, and a file needs three slashes: "sqlite:///voicetrends.db"'
    if scheme:
        return f"{quoted(scheme)} is not a known kind of database{hint(scheme, ('sqlite', 'postgresql'))}; {_REMEDY}"
    return f"is not a database URL: {_REMEDY}"
