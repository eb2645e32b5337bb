"""Key of the quota that an account's requests are counted in: API and login, not the account's name.

A server counts a login, whatever the configuration calls the account and however it spells the URL. So two spellings of
one URL have one key: `HTTPS://Host.:443//%61pi/` and `https://host/api`. URLs that only a resolver or a proxy could
recognise as one server have different keys.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_RESERVED = "!$&'()*+,;=:@/"  # may stand in a path as they are, and mean something else when they are encoded
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def spender_key(base_url: str, login: str) -> str:
    """Return the key of the quota of a login at an API: 16 hexadecimal digits.

    Args:
        base_url: of the API; an http or https URL.
        login: as written; case and surrounding blanks do not matter.
    """
    counted = f"{normal_url(base_url)}\0{login.strip().casefold()}"
    return blake2b(counted.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def normal_url(url: str) -> str:
    """Return an http or https URL in the form in which two spellings of it are equal."""
    parts = urlsplit(url.strip())
    scheme = parts.scheme.lower()
    port = "" if parts.port in {None, _DEFAULT_PORTS.get(scheme)} else f":{parts.port}"
    return f"{scheme}://{_normal_host(parts.hostname or '')}{port}{_normal_path(parts.path)}"


def _normal_host(host: str) -> str:
    host = _ENCODED.sub(lambda match: chr(int(match[1], 16)), host).rstrip(".").lower()
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError:
        return host


def _normal_path(path: str) -> str:
    decoded = quote(_ENCODED.sub(_decode_unreserved, path), safe=_RESERVED + "%~", errors="surrogatepass")
    parts: list[str] = []
    for part in decoded.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "".join(f"/{part}" for part in parts)


def _decode_unreserved(match: re.Match[str]) -> str:
    byte = int(match[1], 16)
    return chr(byte) if byte in _UNRESERVED else match[0].upper()
