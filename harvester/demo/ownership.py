"""Whether a file may be the demonstration's: it writes into a new file, or into one that it made itself."""

from __future__ import annotations

from pathlib import Path

from harvester.demo.setting import ACCOUNT
from harvester.errors import UsageError
from harvester.store.migrate import schema_state
from harvester.store.reader import Reader
from harvester.store.types import SchemaFit

_HERE = "http://127.0.0.1:"  # where its simulator listens


def refuse_foreign(database: Path) -> None:
    """Leave alone what others made.

    Raises:
        UsageError: the file holds something else.
        StoreError: it cannot be read.
    """
    url = f"sqlite:///{database}"
    fit = schema_state(url).fit
    if fit is SchemaFit.EMPTY:
        return
    if fit is not SchemaFit.HEAD:
        raise UsageError(f"{database} holds something else; name a new file with --db")
    with Reader(url) as reader:
        others = [one.identity.name for one in reader.accounts() if not _ours(one.identity.name, one.identity.base_url)]
    if others:
        raise UsageError(f"{database} holds the account {others[0]}, a real harvest; name a new file with --db")


def _ours(name: str, base_url: str) -> bool:
    return name == ACCOUNT and base_url.startswith(_HERE)
