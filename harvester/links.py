"""Symbolic links in the path of a file to write.

In a directory that several users may write to, like /tmp, any of them can put a link under the name of a file to
come, and a program that follows it replaces its target, with the rights of the program's user. So a link is followed
only if this user or root made it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

_MAX_LINKS = 40  # as in Linux


class ForeignLink(OSError):
    """A path leads through a link that belongs to another user.

    Args:
        link: the link.
    """

    def __init__(self, link: Path) -> None:
        super().__init__(errno.EPERM, f"{link} is a link of another user; name its target, or take it over (chown -h)")


def resolve_own(path: Path) -> Path:
    """Return the absolute path without links; what does not exist yet stays as it is.

    Raises:
        ForeignLink: a link on the way belongs neither to this user nor to root.
        OSError: a part of the path cannot be read, or the links form a circle.
    """
    links = 0
    resolved = Path("/")
    pending = list(reversed(path.absolute().parts[1:]))
    while pending:
        part = pending.pop()
        if part == "..":
            resolved = resolved.parent
            continue
        place = resolved / part
        try:
            target = place.readlink()
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOENT, errno.ENOTDIR}:
                raise
            resolved = place  # no link, or nothing
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if place.lstat().st_uid not in {0, os.geteuid()}:
            raise ForeignLink(place)
        pending += reversed(target.parts)
        if target.is_absolute():
            pending.pop()  # the root
            resolved = Path("/")
    return resolved
