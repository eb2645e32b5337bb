"""Which Host headers are ours: the defence against DNS rebinding.

A page of somebody else's can have its own name resolve to a loopback address, and the browser will then take our
answers for that page's. It sends that name as Host, though. So a name must be known; an address must be a loopback
one or the one that the connection came to, for behind an address there is no name that could be turned around.

The port is not looked at: tunnels and containers change it, and a browser cannot be led astray by it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

LOCALHOST = "localhost"

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/\s]+))(?::[0-9]{0,5})?", re.IGNORECASE)


def host_of(header: str) -> str | None:
    """The name or address of a Host header, in lower case, without port, brackets and final dot; None if it is none."""
    found = _AUTHORITY.fullmatch(header)
    if found is None:
        return None
    return (found[1] or found[2]).lower().removesuffix(".") or None


def is_ours(header: str | None, names: Collection[str], local: str) -> bool:
    """Whether a request with this Host is meant for us.

    Args:
        header: as it came; None if none came.
        names: in lower case, that are ours besides localhost.
        local: the address that the connection came to.
    """
    host = host_of(header) if header is not None else None
    if host is None:
        return False
    if host == LOCALHOST or host in names:
        return True
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address == ipaddress.ip_address(local)
    except ValueError:
        return False
