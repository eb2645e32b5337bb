"""Links that belong to another user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_STRANGER = 54_321


def foreign_link(link: Path, target: Path) -> Path:
    """Create a link of a user who is neither this one nor root; skips the test if this user may not give it away."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    link.symlink_to(target)
    os.chown(link, _STRANGER, _STRANGER, follow_symlinks=False)
    return link
