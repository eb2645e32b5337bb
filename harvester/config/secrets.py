"""Passwords, read at the moment when one is needed and not before.

The order: the environment, then what systemd hands over in $CREDENTIALS_DIRECTORY, then the files' keys. No
message here repeats anything that was read, and none a command's output.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harvester.config.environment import variable
from harvester.config.files import is_private_group
from harvester.config.wording import plain
from harvester.errors import ConfigError

if TYPE_CHECKING:
    from harvester.config.settings import Settings
    from harvester.config.value_types import PasswordSources, Secret

COMMAND_TIMEOUT: Final = 30.0  # seconds
_MOST_BYTES: Final = 64 * 1024
_DATABASE: Final = "database"


def password(account: str, settings: Settings, environ: Mapping[str, str]) -> str:
    """The password of an account.

    Raises:
        ConfigError: there is none, or it cannot be had.
    """
    found = _resolve(account, settings.accounts[account].password, environ)
    if found is None:
        name = variable(("accounts", account, "password"))
        raise ConfigError(
            f"accounts.{account}: there is no password: give password_file, password_command or password, or set {name}"
        )
    return found


def database_password(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """The password of the database, None where none is configured: libpq may know one, or need none.

    It goes before a password in the URL.

    Raises:
        ConfigError: one is configured and cannot be had.
    """
    return _resolve(_DATABASE, settings.database.password, environ)


def warnings(settings: Settings) -> list[str]:
    """A line for each file that holds a secret and that others can read."""
    return [
        f"{path}: others can read it, and it holds a secret: chmod 600"
        for path in dict.fromkeys([*settings.holding_secrets, *_secret_files(settings)])
        if _read_by_others(path)
    ]


def _secret_files(settings: Settings) -> Iterator[Path]:
    sources = [settings.database.password, *(account.password for account in settings.accounts.values())]
    for source in sources:
        for secret in (source.environment, source.files):
            if secret and secret.file:
                yield secret.file


def _read_by_others(path: Path) -> bool:
    """A group that root chose, as in `root:harvester 0640`, is meant; so is one that nobody else is in."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return False  # there is nothing to read, which will be said when it is needed
    if not stat.S_ISREG(status.st_mode):
        return False
    group_is_meant = status.st_uid == 0 or is_private_group(status.st_gid, status.st_uid)
    return bool(status.st_mode & (0o007 if group_is_meant else 0o077))


def _resolve(name: str, sources: PasswordSources, environ: Mapping[str, str]) -> str | None:
    if sources.environment:
        return _read(sources.environment, environ)
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory:
        for file in (f"{name}.password", f"harvester_{name}.password"):
            path = Path(directory, file)
            if os.path.lexists(path):
                return _checked(_file(path, str(path)), str(path))
    return _read(sources.files, environ) if sources.files else None


def _read(secret: Secret, environ: Mapping[str, str]) -> str:
    if secret.value is not None:
        return _checked(secret.value.get_secret_value(), secret.place)
    if secret.file is not None:
        return _checked(_file(secret.file, secret.place), f"{secret.place}: {secret.file}")
    output = _run(secret, environ)
    return _checked(_text(output.partition(b"\n")[0].removesuffix(b"\r"), secret.place), f"{secret.place}: its output")


def _checked(found: str, place: str) -> str:
    if not found:
        raise ConfigError(plain(f"{place}: the password is empty"))
    if "\0" in found:
        raise ConfigError(plain(f"{place}: the password holds a NUL"))
    return found


def _text(content: bytes, place: str) -> str:
    if len(content) > _MOST_BYTES:
        raise ConfigError(plain(f"{place}: far too long for a password"))
    try:
        return content.decode()
    except UnicodeDecodeError:
        # The cause would show the bytes.
        raise ConfigError(plain(f"{place}: the password is not UTF-8 text")) from None


def _file(path: Path, place: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 2)
    except OSError as error:
        raise ConfigError(plain(f"{place}: {path} cannot be read: {error.strerror}")) from None
    for ending in (b"\r\n", b"\n"):
        if content.endswith(ending):
            content = content.removesuffix(ending)
            break
    return _text(content, place)


def _run(secret: Secret, environ: Mapping[str, str]) -> bytes:
    command = secret.command or ()
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
            command,
            cwd=secret.directory,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that its children can be ended with it, and none can ask at the terminal
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it cannot be run"
        raise ConfigError(plain(f"{secret.place}: {command[0]}: {reason}")) from None
    with process:
        try:
            output = _drain(process, time.monotonic() + COMMAND_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise ConfigError(plain(f"{secret.place}: no end within {COMMAND_TIMEOUT:g} s")) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise ConfigError(plain(f"{secret.place}: the command failed ({_end(process.returncode)}); try it by hand"))
    return output


def _drain(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """All output is taken, so that the command can end; only its beginning is kept."""
    output = bytearray()
    pipe = process.stdout
    while pipe is not None:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            raise subprocess.TimeoutExpired(process.args, COMMAND_TIMEOUT)
        chunk = os.read(pipe.fileno(), _MOST_BYTES)
        if not chunk:
            break
        output += chunk[: _MOST_BYTES + 1 - len(output)]
    process.wait(max(0.0, deadline - time.monotonic()))
    return bytes(output)


def _end(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"
