"""Database URLs as text: no database library is needed to judge them, hide their passwords or place their files.

Only what both sides of the program agree on is let through: `sqlite:///` and an absolute path, or what libpq
reads. The driver is the program's choice, not the URL's.
"""

from __future__ import annotations

import re
from pathlib import Path

from harvester.config.wording import hint, shown
from harvester.redaction import hide_url_password

_SQLITE, _POSTGRESQL = "sqlite:///", "postgresql://"
_ALIAS = "postgres://"
_SCHEME = re.compile(r"([a-z][a-z0-9]*)(\+[a-z0-9_]+)?(://.*)?", re.IGNORECASE | re.DOTALL)
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f]")
_MEND = 'write "sqlite:///FILE" or "postgresql://USER@HOST/DATABASE"'


def locate(url: str, *, base: Path, home: Path) -> str:
    """The URL in its normal form: a relative SQLite file is placed under `base`, `~/` under `home`.

    Raises:
        ValueError: what is wrong with it, without the URL itself.
    """
    scheme, colon, rest = url.partition("://")
    url = scheme.lower() + colon + rest
    if url.startswith(_ALIAS):
        url = _POSTGRESQL + url.removeprefix(_ALIAS)
    if url.startswith(_SQLITE):
        path = url.removeprefix(_SQLITE)
        _check_sqlite(path)
        return _SQLITE + str(base / expand_home(path, home))
    return absolute(url)


def absolute(url: str) -> str:
    """Check a URL that needs no directory to be complete.

    Raises:
        ValueError: what is wrong with it, without the URL itself.
    """
    if url.startswith(_POSTGRESQL):
        _check_postgresql(url)
    elif url.startswith(_SQLITE):
        _check_sqlite(url.removeprefix(_SQLITE))
        if not url.startswith(_SQLITE + "/"):
            raise ValueError("the path of the SQLite file must be absolute here")
    else:
        raise ValueError(_scheme_trouble(url))
    return url


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL in its normal form, else None."""
    return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None


def holds_password(url: str) -> bool:
    """Whether a password is written in the URL."""
    return hide_url_password(url) != url


def expand_home(path: str, home: Path) -> Path:
    """`~` and `~/...` as a shell reads them."""
    if path == "~" or path.startswith("~/"):
        return home / path[2:]
    return Path(path)


def _check_sqlite(path: str) -> None:
    if path in {"", ":memory:"} or path.startswith("file:"):
        raise ValueError('a database in memory keeps nothing: name a file, like "sqlite:///voicetrends.db"')
    if "?" in path:
        raise ValueError("options after ? are not supported for SQLite")
    if path.endswith("/"):
        raise ValueError("names a directory: a SQLite database is a file")
    if "\0" in path:
        raise ValueError("holds an unprintable character")


def _check_postgresql(url: str) -> None:
    if _UNPRINTABLE.search(url):
        raise ValueError("holds a blank or an unprintable character: write it in its percent form (%20)")
    server = url.removeprefix(_POSTGRESQL).partition("?")[0]
    user, at, rest = server.partition("@")
    if "@" in rest or (at and "/" in user):
        raise ValueError("an @ in a login or password is written %40, a / %2F")


def _scheme_trouble(url: str) -> str:
    match = _SCHEME.fullmatch(url)
    scheme = match[1].lower() if match and match[3] else ""
    if scheme in {"postgresql", "postgres", "sqlite"} and match and match[2]:
        return f'the driver is not yours to choose: write "{scheme}://" without {shown(match[2])}'
    if scheme == "sqlite":
        return 'a database in memory keeps nothing, and a file takes three slashes: "sqlite:///voicetrends.db"'
    if scheme:
        return f"{shown(scheme)} is no kind of database known here{hint(scheme, ('sqlite', 'postgresql'))}; {_MEND}"
    return f"is no database URL: {_MEND}"
