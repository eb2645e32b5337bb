"""Every expected trouble, named by what its catcher does about it.

The first line of a class's docstring is its message; the argument says what happened in this case. An error
raised from a library's own is raised where the library is called, and says in its own words what the cause
said: the repr of a foreign exception may hold a password.

`exit_code` follows sysexits where one fits; `code` is the word that `--json` prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes of the process; sysexits.h where one fits."""

    OK = 0
    BUG = 1
    USAGE = 2
    FAILED_SLICES = 3
    UNREACHABLE = 69
    DATABASE = 74
    BUSY = 75
    CREDENTIALS = 77
    CONFIG = 78
    INTERRUPTED = 130


PRECEDENCE = (
    ExitCode.INTERRUPTED,
    ExitCode.BUG,
    ExitCode.DATABASE,
    ExitCode.CONFIG,
    ExitCode.CREDENTIALS,
    ExitCode.UNREACHABLE,
    ExitCode.BUSY,
    ExitCode.FAILED_SLICES,
    ExitCode.OK,
)
"""Of several accounts' exit codes the first of these that occurs is the process's."""


class HarvesterError(Exception):
    """Something expected went wrong."""

    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    code: ClassVar[str] = "error"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__(detail)

    def __str__(self) -> str:
        summary = (type(self).__doc__ or "").partition("\n")[0].rstrip(".")
        return f"{summary}: {self.detail}" if self.detail else f"{summary}."


class UsageError(HarvesterError):
    """The command cannot be carried out as given."""

    exit_code = ExitCode.USAGE
    code = "usage"

    def __str__(self) -> str:
        return self.detail  # the command line is before the reader's eyes


class ConfigError(HarvesterError):
    """The configuration cannot be used: every problem at once, a line each."""

    exit_code = ExitCode.CONFIG
    code = "config"

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))

    def __str__(self) -> str:
        return self.detail  # every problem names its place


class Busy(HarvesterError):
    """Another process works this account."""

    exit_code = ExitCode.BUSY
    code = "busy"


class Interrupted(HarvesterError):
    """Interrupted; what was fetched is kept, and the same command goes on from there."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"


class Superseded(HarvesterError):
    """A newer plan takes over."""


class SourceError(HarvesterError):
    """The API did not give what was asked for."""


class Transient(SourceError):
    """Try again."""


class Outage(StrEnum):
    """In which way an answer failed to come."""

    CONNECT = "connect"  # refused, unresolved, or not within 10 s
    CLOSED = "closed"  # the connection went before the answer was whole
    TIMEOUT = "timeout"  # connected, but no whole answer within the time allowed
    SERVER = "server"  # a 5xx, or a status that only a proxy sends
    NOT_API = "not-api"  # HTML, a redirect: somebody else answered


class SourceUnavailable(Transient):
    """No usable answer came."""

    code = "unavailable"

    def __init__(self, detail: str, *, outage: Outage, status: int | None = None) -> None:
        self.outage = outage
        self.status = status
        super().__init__(detail)


class Throttled(Transient):
    """The server says that the quota is spent (429)."""

    code = "throttled"


class SliceRejected(SourceError):
    """The server refuses this slice.

    `named` holds which of the request's parameters the refusal speaks of: "start", "end", "period", "phone".
    """

    code = "rejected"

    def __init__(self, detail: str, *, named: frozenset[str] = frozenset()) -> None:
        self.named = named
        super().__init__(detail)


class Unauthorized(SourceError):
    """The server answers 401.

    Whether the phone or the credentials are to blame shows only beside other answers (core.trust).
    `generation` counts the credential pairs of this process: which of them was refused.
    """

    code = "unauthorized"

    def __init__(self, detail: str, *, generation: int) -> None:
        self.generation = generation
        super().__init__(detail)


class PayloadError(SourceError):
    """The answer's body is not what it should be."""

    code = "payload"


class CalendarMismatch(SourceError):
    """The server's days or weeks are not the configured ones.

    `setting` is the key to mend ("timezone" or "week_start"), `fits` a value that agrees with the answer, if any.
    """

    exit_code = ExitCode.CONFIG
    code = "calendar"

    def __init__(self, detail: str, *, setting: str, fits: str | None) -> None:
        self.setting = setting
        self.fits = fits
        super().__init__(detail)


class Unreachable(SourceError):
    """The API cannot be reached."""

    exit_code = ExitCode.UNREACHABLE
    code = "unreachable"


class CredentialsRefused(SourceError):
    """The API refuses the credentials."""

    exit_code = ExitCode.CREDENTIALS
    code = "credentials"


class StoreError(HarvesterError):
    """The database cannot be used."""

    exit_code = ExitCode.DATABASE
    code = "database"


class StoreLost(StoreError):
    """The connection to the database was lost."""


class SchemaError(StoreError):
    """The database's schema does not fit this version."""


class SchemaUnknown(SchemaError):
    """The database's schema is none that this version knows."""


def exit_code(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the process's exit code for those of its accounts: the first of PRECEDENCE that occurs."""
    return min(codes, key=PRECEDENCE.index, default=ExitCode.OK)


def describe_error(error: Exception | None) -> dict[str, str] | None:
    """An error as JSON shows it; None for none."""
    if error is None:
        return None
    if isinstance(error, HarvesterError):
        return {"code": error.code, "message": str(error)}
    return {"code": "bug", "message": f"{type(error).__name__}: {error}"}
