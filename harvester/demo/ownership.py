"""Protection of other databases: the demonstration writes only into a new file or into one that it created."""

from __future__ import annotations

from pathlib import Path

from harvester.demo.setting import ACCOUNT
from harvester.errors import UsageError
from harvester.store.reader import Reader
from harvester.store.schema_state import schema_state
from harvester.store.types import SchemaFit

_SIMULATOR_URL = "http://127.0.0.1:"  # how its simulator's address begins


def refuse_foreign(database: Path) -> None:
    """Refuse a file that the demonstration did not create.

    Raises:
        UsageError: the file has other contents.
        StoreError: the file cannot be read.
    """
    url = f"sqlite:///{database}"
    fit = schema_state(url).fit
    if fit is SchemaFit.EMPTY:
        return
    if fit is not SchemaFit.HEAD:
        raise UsageError(f"{database} is not a database of the demonstration; choose a new file with --db")
    with Reader(url) as reader:
        foreign = [
            one.identity.name for one in reader.accounts() if not _is_own(one.identity.name, one.identity.base_url)
        ]
    if foreign:
        raise UsageError(f"{database} contains the real account {foreign[0]}; choose a new file with --db")


def _is_own(name: str, base_url: str) -> bool:
    return name == ACCOUNT and base_url.startswith(_SIMULATOR_URL)
