"""From files and environment to Settings: read, merge key by key, check everything, report all mistakes at once.

Every value has its place until it is checked, so that a mistake is reported where it was written, however far it was
inherited; the same mistake inherited twice is one line. A key of an account is looked up in the account's own table,
then in [defaults]; a key of its `api` or `quota` last in [api] or [quota]. In each table the environment takes
precedence over the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harvester.config import search
from harvester.config.entries import Layer
from harvester.config.environment import read_environment
from harvester.config.files import Unreadable, account_files, read_layer, untrusted
from harvester.config.sections import Builder
from harvester.config.settings import Settings
from harvester.config.wording import printable
from harvester.errors import ConfigError

ETC: Final = Path("/etc/harvester")


def load(path: Path | None, environ: Mapping[str, str], *, cwd: Path, home: Path, etc: Path = ETC) -> Settings:
    """Return the whole configuration. Secrets in other files and the output of commands are not read.

    Args:
        path: the file that the user named, if any.
        environ: the environment.
        cwd: the current directory, absolute.
        home: the home directory, absolute.
        etc: the directory of the machine's configuration.

    Raises:
        ConfigError: there are mistakes; each is one line.
    """
    problems: list[str] = []
    source, trusted = search.find(path, environ, cwd=cwd, home=home, etc=etc)
    files = _read_files(source, problems, check_trust=not trusted) if source else Layer.empty()
    from_environment = read_environment(environ, files.accounts, cwd, problems)
    settings = Builder(files, from_environment, problems, base=source.parent if source else cwd, home=home).build(
        source
    )
    _refuse(problems)
    return settings


def _read_files(source: Path, problems: list[str], *, check_trust: bool) -> Layer:
    """Return the main file and accounts.d beside it as one layer.

    Raises:
        ConfigError: a file cannot be read or trusted. Mistakes in the others are not reported then, for some of them
            may follow from it.
    """
    whole = Layer.empty()
    broken: list[str] = []
    others = list(account_files(source, broken))
    if check_trust and others:
        broken += [reason for each in others if (reason := untrusted(each))]
        _refuse(broken)
    for file in (source, *others):
        try:
            layer = read_layer(file, problems, account=None if file is source else file.stem)
        except Unreadable as error:
            broken.append(f"{file}: {error}")
            continue
        problems += [
            f"{layer.accounts[name]}: the account {name} is already defined: {whole.accounts[name]}"
            for name in sorted(layer.accounts.keys() & whole.accounts.keys())
        ]
        whole.entries.update(layer.entries)
        whole.accounts.update(layer.accounts)
    _refuse(broken)
    return whole


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigError(*map(printable, dict.fromkeys(problems)))
