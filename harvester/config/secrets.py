"""Passwords, read when one is needed and not before.

Precedence: the environment, then systemd's credentials in $CREDENTIALS_DIRECTORY, then the keys of the files. No
message repeats anything that was read, nor the output of a command.
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
from threading import Event
from typing import Final

from harvester.config.database_url import holds_password
from harvester.config.environment import PREFIX, variable
from harvester.config.files import is_private_group
from harvester.config.settings import Settings
from harvester.config.value_types import PasswordSources, Secret
from harvester.config.wording import printable
from harvester.errors import ConfigError, Interrupted

COMMAND_TIMEOUT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1  # between two looks at `ending`
_MAX_BYTES: Final = 64 * 1024
_DATABASE: Final = "database"


def password(account: str, settings: Settings, environ: Mapping[str, str], *, ending: Event | None = None) -> str:
    """Return the password of an account.

    Args:
        account: its name.
        settings: that contain it.
        environ: for passwords and commands.
        ending: set from any thread when the process ends; a `password_command` is then killed.

    Raises:
        ConfigError: there is none, or it cannot be read.
        Interrupted: `ending` was set while a command ran.
    """
    found = _resolve(account, settings.accounts[account].password, environ, ending)
    if found is None:
        name = variable(("accounts", account, "password"))
        raise ConfigError(
            f"accounts.{account}: there is no password: give password_file, password_command or password, or set {name}"
        )
    return found


def database_password(settings: Settings, environ: Mapping[str, str], *, ending: Event | None = None) -> str | None:
    """Return the password of the database, None if none is configured: libpq may know one, or need none.

    It takes precedence over a password in the URL. For `ending` see `password`.

    Raises:
        ConfigError: one is configured and cannot be read.
        Interrupted: `ending` was set while a command ran.
    """
    return _resolve(_DATABASE, settings.database.password, environ, ending)


def warnings(settings: Settings) -> list[str]:
    """Return a line for each file that contains a secret and is readable by other users."""
    return [
        f"{path}: other users can read it, and it contains a secret: run chmod 600 on it"
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
    """Return True if a file is readable by others, or by a group that may not read it.

    A group may read the file if root chose it, as in `root:harvester 0640`, or if it has no other member.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):
        return False  # the file is missing, which is reported when it is needed
    if not stat.S_ISREG(status.st_mode):
        return False
    group_is_meant = status.st_uid == 0 or is_private_group(status.st_gid, status.st_uid)
    return bool(status.st_mode & (0o007 if group_is_meant else 0o077))


def _resolve(name: str, sources: PasswordSources, environ: Mapping[str, str], ending: Event | None) -> str | None:
    if sources.environment:
        return _read_secret(sources.environment, environ, ending)
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory:
        for file in (f"{name}.password", f"harvester_{name}.password"):
            path = Path(directory, file)
            if os.path.lexists(path):
                return _checked(_read_file(path, str(path)), str(path))
    return _read_secret(sources.files, environ, ending) if sources.files else None


def _read_secret(secret: Secret, environ: Mapping[str, str], ending: Event | None) -> str:
    if secret.value is not None:
        return _checked(secret.value.get_secret_value(), secret.place)
    if secret.file is not None:
        return _checked(_read_file(secret.file, secret.place), f"{secret.place}: {secret.file}")
    output = _run_command(secret, environ, ending or Event())
    return _checked(
        _decode(output.partition(b"\n")[0].removesuffix(b"\r"), secret.place), f"{secret.place}: its output"
    )


def _checked(found: str, place: str) -> str:
    if not found:
        raise ConfigError(printable(f"{place}: the password is empty"))
    if "\0" in found:
        raise ConfigError(printable(f"{place}: the password contains a NUL"))
    if "\n" in found or "\r" in found:
        raise ConfigError(printable(f"{place}: the password has more than one line; remove all but the password"))
    return found


def _decode(content: bytes, place: str) -> str:
    if len(content) > _MAX_BYTES:
        raise ConfigError(printable(f"{place}: too long for a password, more than {_MAX_BYTES} bytes"))
    try:
        return content.decode("utf-8-sig")  # Windows editors write a byte order mark
    except UnicodeDecodeError:
        # The cause contains the bytes.
        raise ConfigError(printable(f"{place}: the password is not UTF-8 text")) from None


def _read_file(path: Path, place: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 2)
    except OSError as error:
        raise ConfigError(printable(f"{place}: {path} cannot be read: {error.strerror}")) from None
    content = content.rstrip(b"\r\n")
    return _decode(content, place)


def _run_command(secret: Secret, environ: Mapping[str, str], ending: Event) -> bytes:
    command = secret.command or ()
    try:
        process = subprocess.Popen(  # noqa: S603 - the user configured the command; no shell
            command,
            cwd=secret.directory,
            env=_without_secrets(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # to end its children with it, and to keep them from prompting on the terminal
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "cannot be run"
        raise ConfigError(printable(f"{secret.place}: {command[0]}: {reason}")) from None
    with process:
        try:
            output = _read_output(process, time.monotonic() + COMMAND_TIMEOUT_SECONDS, ending)
        except subprocess.TimeoutExpired:
            raise ConfigError(
                printable(f"{secret.place}: the command did not end within {COMMAND_TIMEOUT_SECONDS:g} s")
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise ConfigError(
            printable(f"{secret.place}: the command failed ({_ending(process.returncode)}); run it by hand")
        )
    return output


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a command: it finds one password and needs no other."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(PREFIX) or not (name.endswith("PASSWORD") or holds_password(value))
    }


def _read_output(process: subprocess.Popen[bytes], deadline: float, ending: Event) -> bytes:
    """Return the beginning of the output. All of it is read, so that the command can end.

    Raises:
        subprocess.TimeoutExpired: the command did not end before `deadline` (monotonic).
        Interrupted: `ending` was set before.
    """
    output = bytearray()
    pipe = process.stdout
    while pipe is not None:
        if ending.is_set():
            raise Interrupted
        left = deadline - time.monotonic()
        if left <= 0:
            raise subprocess.TimeoutExpired(process.args, COMMAND_TIMEOUT_SECONDS)
        if not select.select([pipe], [], [], min(left, _LOOK_SECONDS))[0]:
            continue
        chunk = os.read(pipe.fileno(), _MAX_BYTES)
        if not chunk:
            break
        output += chunk[: _MAX_BYTES + 1 - len(output)]
    process.wait(max(0.0, deadline - time.monotonic()))
    return bytes(output)


def _ending(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"
