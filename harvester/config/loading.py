"""From files and environment to Settings: read, merge key by key, check everything, complain once.

Every value keeps its place until it is checked, so that a mistake is reported where it was written, however far
it was inherited; the same mistake inherited twice is one line. An account's key is looked for in the account's
own table, then in [defaults]; the keys of its [api] and [quota] lastly in the process's. In each table the
environment beats the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harvester.config import search
from harvester.config.entries import Layer
from harvester.config.environment import read_environment
from harvester.config.files import Unreadable, account_files, distrust, read_layer
from harvester.config.sections import Builder
from harvester.config.wording import plain
from harvester.errors import ConfigError

if TYPE_CHECKING:
    from harvester.config.settings import Settings

ETC: Final = Path("/etc/harvester")


def load(path: Path | None, environ: Mapping[str, str], *, cwd: Path, home: Path, etc: Path = ETC) -> Settings:
    """Read the whole configuration. No secret is read that stands elsewhere.

    Args:
        path: the file that the user named, if any.
        environ: the environment.
        cwd: an absolute path.
        home: an absolute path.
        etc: where the machine's configuration is.

    Raises:
        ConfigError: every mistake, one line each.
    """
    problems: list[str] = []
    source, trusted = search.find(path, environ, cwd=cwd, home=home, etc=etc)
    files = _read_files(source, problems, distrustful=not trusted) if source else Layer.empty()
    from_environment = read_environment(environ, files.accounts, cwd, problems)
    settings = Builder(files, from_environment, problems, base=source.parent if source else cwd, home=home).build(
        source
    )
    _refuse(problems)
    return settings


def _read_files(source: Path, problems: list[str], *, distrustful: bool) -> Layer:
    """The main file and accounts.d beside it, as one layer. Nothing is said of their content while one is broken."""
    whole = Layer.empty()
    broken: list[str] = []
    others = list(account_files(source, broken))
    if distrustful and others:
        broken += [reason for each in others if (reason := distrust(each))]
        _refuse(broken)
    for file in (source, *others):
        try:
            layer = read_layer(file, problems, account=None if file is source else file.stem)
        except Unreadable as error:
            broken.append(f"{file}: {error}")
            continue
        problems += [
            f"{layer.accounts[name]}: the account {name} is defined already: {whole.accounts[name]}"
            for name in sorted(layer.accounts.keys() & whole.accounts.keys())
        ]
        whole.entries.update(layer.entries)
        whole.accounts.update(layer.accounts)
    _refuse(broken)
    return whole


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigError(*map(plain, dict.fromkeys(problems)))
