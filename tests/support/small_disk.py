"""A file system of so many bytes, to be filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount it at `place`, which is made; `size` as mount's tmpfs takes it. Only root may, and not everywhere."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    with mounted_disk(place, size) as mounted:
        if mounted is None:
            pytest.skip("this container may not mount")
        yield mounted


@contextmanager
def mounted_disk(place: Path, size: str) -> Iterator[Path | None]:
    """Mount it at `place`, which is made; None where this user may not mount."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
