"""Check of the Host header: the protection against DNS rebinding.

A foreign web page can let its own name resolve to a loopback address; the browser then gives our answers to that page.
But it sends that name as Host. So a name must be known. An address must be a loopback address or the one that the
connection came to, because an address does not go through DNS.

The port is ignored: tunnels and containers change it, and it is no means of such an attack.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

LOCALHOST = "localhost"

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/\s]+))(?::[0-9]{0,5})?", re.IGNORECASE)


def host_of(header: str) -> str | None:
    """Return the name or address of a Host header in lower case, without port, brackets and final dot.

    Returns:
        None if the header has no valid name or address.
    """
    found = _AUTHORITY.fullmatch(header)
    if found is None:
        return None
    return (found[1] or found[2]).lower().removesuffix(".") or None


def is_allowed_host(header: str | None, names: Collection[str], local_address: str) -> bool:
    """Return True if a request with this Host header is for this server.

    Args:
        header: as it came; None if none came.
        names: allowed names in lower case, besides localhost.
        local_address: that the connection came to.
    """
    host = host_of(header) if header is not None else None
    if host is None:
        return False
    if host == LOCALHOST or host in names:
        return True
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address == ipaddress.ip_address(local_address)
    except ValueError:
        return False
