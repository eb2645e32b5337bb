"""Checks of single values: each takes a value as it was written and returns it in its normal form.

A ValueError says what is wrong and how to fix it. It does not name the key, whose place is added later, and repeats no
value that may contain a password.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from harvester.config import cron as crontab
from harvester.config.wording import hint, none_of, quoted
from harvester.core.model import RESOURCES

T = TypeVar("T")

_ACCOUNT_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f]")
_FIRST_YEAR, _LAST_YEAR = 1990, 2099  # any other year is a typing error
_HIGHEST_PORT = 65_535
_DEFAULT_PORTS = {"http": 80, "https": 443}


def no_boolean(value: object) -> object:
    """Refuse true and false where a number is expected, for Python takes them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 - pydantic collects ValueErrors only
    return value


def empty_is_none(value: object) -> object:
    """Return None for an empty text: the only way in which the environment can unset an optional key."""
    return None if value == "" else value


def account_name(name: str) -> str:
    """Check the name of an account."""
    if not _ACCOUNT_NAME.fullmatch(name) or "__" in name:
        raise ValueError(
            "the name of an account has lower-case letters, digits, - and _, begins with a letter and contains no __"
        )
    if name == "database":  # $CREDENTIALS_DIRECTORY/database.password is the database's
        raise ValueError("an account cannot be named database: database.password is the password of the database")
    return name


def login(text: str) -> str:
    """Check a login."""
    if not text.strip():
        raise ValueError("must not be empty")
    if any(not char.isprintable() for char in text):
        raise ValueError("contains an unprintable character")
    return text


def schema_name(text: str) -> str:
    """Check the name of a PostgreSQL schema."""
    if not _SCHEMA_NAME.fullmatch(text) or text.startswith("pg_"):
        raise ValueError(
            f"{quoted(text)} is not a schema name: lower-case letters, digits and _, not beginning with pg_"
        )
    return text


def resource(text: str) -> str:
    """Check the name of a resource."""
    if text not in RESOURCES:
        raise ValueError(none_of(text, RESOURCES))
    return text


def no_repeats(items: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse an empty list, and one that contains an item twice."""
    if not items:
        raise ValueError("must not be empty")
    repeated = [item for place, item in enumerate(items) if item in items[:place]]
    if repeated:
        raise ValueError(f"{quoted(str(repeated[0]))} is listed twice")
    return items


def day(value: object) -> date | None:
    """Return a TOML date or an ISO text as a date; None for an empty text."""
    if value is None or value == "":
        return None
    if isinstance(value, date) and not isinstance(value, datetime):
        found = value
    elif isinstance(value, str) and _ISO_DAY.fullmatch(value):
        try:
            found = date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{quoted(value)} is not in the calendar") from None
    else:
        raise ValueError("must be a date, like 2024-01-31")
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise ValueError(f"the year {found.year} is out of range: {_FIRST_YEAR} to {_LAST_YEAR}")
    return found


def zone(name: str) -> str:
    """Check the name of an IANA time zone."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(f"{quoted(name)} is not a time zone{_zone_hint(name)}") from None
    return name


def _zone_hint(name: str) -> str:
    """Return the end of a sentence that names the nearest zone, a city without its continent included."""
    zones = available_timezones()
    by_end = {known.rpartition("/")[2].casefold(): known for known in sorted(zones)}
    city = name.rpartition("/")[2].replace(" ", "_").casefold()
    if city in by_end:
        return f"; did you mean {by_end[city]}?"
    return hint(name, zones) or "; a zone is written like America/New_York"


def cron(text: str) -> str:
    """Check five cron fields."""
    crontab.parse(text)
    return " ".join(text.split())


def listen(value: object) -> tuple[str, int] | None:
    """Return host and port of `host:port` or `[::1]:port`; None for an empty text."""
    if value is None or value == "":
        return None
    if isinstance(value, tuple) and len(value) == 2:  # noqa: PLR2004 - an Address that was built in code
        return value
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    good_host = host and not _UNPRINTABLE.search(host) and bracketed == (":" in host)
    if not (colon and good_host and port.isascii() and port.isdigit() and len(port) <= len(str(_HIGHEST_PORT))):
        raise ValueError('must be host:port, like 127.0.0.1:8150 or [::1]:8150; "" switches the endpoints off')
    if int(port) > _HIGHEST_PORT:
        raise ValueError(f"the port is at most {_HIGHEST_PORT}")
    return host, int(port)


def host_name(text: str) -> str:
    """Check a name of the daemon's host: a Host header without the port."""
    if not text or _UNPRINTABLE.search(text) or "/" in text:
        raise ValueError("must be a host name, without scheme and path")
    return text.lower()


def http_url(text: str) -> str:
    """Check an http or https URL. It may contain a token or a password, so the error does not repeat it."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in _DEFAULT_PORTS or not host or _UNPRINTABLE.search(text):
        raise ValueError("must be a URL with http:// or https:// and a host")
    return text


def base_url(text: str) -> str:
    """Return the API's base URL in the form in which accounts are compared: host in lower case, no slash at the end."""
    parts = urlsplit(http_url(text))
    if "@" in parts.netloc:
        raise ValueError("must not contain a login: write it in the account's table")
    if parts.query or parts.fragment:
        raise ValueError("must end before any ? or #")
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
