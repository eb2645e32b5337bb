"""docs/licences.md names the licence of every package that an installation contains, as its metadata state it."""

from __future__ import annotations

import re
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def licence_of(package: str) -> str:
    found: dict[str, Any] = dict(metadata(package).json)
    classes = [each.rpartition("::")[2].strip() for each in found.get("classifier", []) if "License ::" in each]
    return found.get("license_expression") or found.get("license") or ", ".join(classes)


def test_every_installed_package_is_listed_with_its_licence() -> None:
    packages = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE)
    listed = re.findall(r"^\| ([a-z0-9-]+) \| (.+) \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)
    assert listed[1:] == [(package, licence_of(package)) for package in packages]
