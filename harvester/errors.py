"""Errors that the harvester expects, grouped by what their catcher does about them.

The first line of a class's docstring is its message to users: what happened and, where it is always true, what it means
for the data. The argument `detail` adds the case at hand and what to do. Both are read as "message: detail".

A foreign exception (of aiohttp, psycopg, SQLAlchemy...) is translated where the library is called. Its cause is
described in our own words and never by its repr, which may hold a password.

    HarvesterError
      - UsageError                  2   command line
      - ConfigError                78   configuration, secrets
      - Busy                       75   the account is held by another process
      - Interrupted               130   a signal
      - Superseded                      internal: a newer plan replaces the running one
      - SourceError                     the API
        - Transient                     repeat the request
          - SourceUnavailable
          - Throttled
        - SliceRejected                 give this slice up, go on with the others
        - Unauthorized                  find out whether the phone or the credentials are to blame
        - PayloadError                  repeat the request, then give the slice up
        - CalendarMismatch         78   end the account's run
        - RequestsRefused          78   end the account's run
        - Unreachable              69   end the account's run
        - CredentialsRefused       77   end the account's run
      - StoreError                 74   the database
        - StoreLost                     connect again
          - ClaimLost                   claim the account again
        - SessionShared                 never work over this connection
        - SchemaError
          - SchemaUnknown               never touch this database

A number is the exit code where the error ends a run; subclasses inherit it. An error without a number that reaches the
end of the process is a bug (1).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import ClassVar, Self


class ExitCode(IntEnum):
    """Exit codes of the process: those of sysexits.h where one fits, and 130 as a shell reports SIGINT.

    `meaning` is what docs/reference.md says.
    """

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """Create a member whose value is its code alone."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "All done; rejected and absent values are counted in the summary."
    BUG = 1, "A bug; report the lines that were printed."
    USAGE = 2, "The command cannot be carried out as given."
    FAILED_SLICES = 3, "Ended with failed slices; `status` lists them."
    UNREACHABLE = 69, "The API is unreachable."  # EX_UNAVAILABLE
    DATABASE = 74, "The database is unusable: down, full, locked, read-only or not migrated."  # EX_IOERR
    BUSY = 75, "Another process holds the account (`--no-wait`), or held it until now (`run --once`)."  # EX_TEMPFAIL
    CREDENTIALS = 77, "The API refuses the credentials."  # EX_NOPERM
    CONFIG = (
        78,
        "The configuration, or the server's days or weeks, are wrong, or all requests are refused.",
    )  # EX_CONFIG
    INTERRUPTED = 130, "Interrupted; what was fetched is stored, and the same command continues."


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
"""Exit codes of accounts, the most important first. USAGE is missing: it ends the process before any account begins."""


class HarvesterError(Exception):
    """The harvester cannot continue.

    Args:
        detail: the case at hand and what to do, in one line without a final full stop.

    Attributes:
        exit_code: the process's exit code if this error ends it.
        code: the word for the error in JSON output and in the database.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    code: ClassVar[str] = "error"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__(detail)

    def __str__(self) -> str:
        message = (type(self).__doc__ or "").partition("\n")[0].rstrip(".")
        return f"{message}: {self.detail}" if self.detail else f"{message}."


class UsageError(HarvesterError):
    """The command line cannot be carried out as given."""

    exit_code = ExitCode.USAGE
    code = "usage"

    def __str__(self) -> str:
        return self.detail  # the reader has just typed the command


class ConfigError(HarvesterError):
    """The configuration is invalid.

    Args:
        problems: every problem found, each a line that names its place and the fix.
    """

    exit_code = ExitCode.CONFIG
    code = "config"

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))

    def __str__(self) -> str:
        return self.detail  # every problem names its place


class Busy(HarvesterError):
    """Another process holds the account."""

    exit_code = ExitCode.BUSY
    code = "busy"


class Interrupted(HarvesterError):
    """Interrupted; everything stored so far is safe. Run the same command again to continue."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"


class Superseded(HarvesterError):
    """A newer plan replaces this one."""


class SourceError(HarvesterError):
    """The API did not return what was requested."""


class Transient(SourceError):
    """The request failed and can be repeated."""


class Outage(StrEnum):
    """The way in which the API failed to answer."""

    CONNECT = "connect"  # refused, unresolved, or not within 10 s; nothing was sent
    CLOSED = "closed"  # the connection was closed before the answer was complete
    TIMEOUT = "timeout"  # connected, but no complete answer within the time allowed
    SERVER = "server"  # a 5xx, or a status that only a proxy sends
    NOT_API = "not-api"  # HTML or a redirect: the answer came from something else


class SourceUnavailable(Transient):
    """The API gave no usable answer.

    Args:
        detail: what came instead.
        outage: the way in which it failed.
        status: the HTTP status, if one came.
    """

    code = "unavailable"

    def __init__(self, detail: str, *, outage: Outage, status: int | None = None) -> None:
        self.outage = outage
        self.status = status
        super().__init__(detail)


class Throttled(Transient):
    """The API refuses more requests for now."""

    code = "throttled"


class SliceRejected(SourceError):
    """The API refuses this slice.

    Args:
        detail: the API's words.
        named: the request's parameters that these words mention: "start", "end", "period", "phone".
        status: the HTTP status, if it is known.
    """

    code = "rejected"

    def __init__(self, detail: str, *, named: frozenset[str] = frozenset(), status: int | None = None) -> None:
        self.named = named
        self.status = status
        super().__init__(detail)


class Unauthorized(SourceError):
    """The API refuses the credentials for this phone.

    A 401 is sent for bad credentials and for a phone of another account alike; only other answers tell them apart
    (core.unauthorized).

    Args:
        detail: the API's words.
        generation: the number of the credential pair that was refused, counted from the start of the process.
        status: 401 or 403.
    """

    code = "unauthorized"

    def __init__(self, detail: str, *, generation: int, status: int = 401) -> None:
        self.generation = generation
        self.status = status
        super().__init__(detail)


class PayloadError(SourceError):
    """The answer is unusable, and nothing of it was stored."""

    code = "payload"


class CalendarMismatch(SourceError):
    """The API's days or weeks are not the configured ones, and nothing of the answer was stored.

    Args:
        detail: the mismatch and the fix.
        setting: the key to fix: "timezone" or "week_start".
        fits: a value of it that agrees with the answer, if any was found.
    """

    exit_code = ExitCode.CONFIG
    code = "calendar"

    def __init__(self, detail: str, *, setting: str, fits: str | None) -> None:
        self.setting = setting
        self.fits = fits
        super().__init__(detail)


class RequestsRefused(SourceError):
    """The API refuses every request."""

    exit_code = ExitCode.CONFIG
    code = "refused"


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


class ClaimLost(StoreLost):
    """The lock of the account was lost."""


class SessionShared(StoreError):
    """The database session is not this process's own, so no lock would hold."""


class SchemaError(StoreError):
    """The database's schema does not match this version of the harvester."""


class SchemaUnknown(SchemaError):
    """The database's schema is unknown to this version of the harvester, which leaves it untouched."""


def exit_code(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the process's exit code: the first of PRECEDENCE among its accounts' codes, OK if there is none.

    Raises:
        ValueError: a code is not one of PRECEDENCE.
    """
    return min(codes, key=PRECEDENCE.index, default=ExitCode.OK)


def describe_error(error: Exception | None) -> dict[str, str] | None:
    """Return an error as `--json` prints it, code and message; None for no error."""
    if error is None:
        return None
    if isinstance(error, HarvesterError):
        return {"code": error.code, "message": str(error)}
    return {"code": "bug", "message": f"{type(error).__name__}: {error}"}
