"""The configuration as the rest of the program sees it: frozen, typed, whole.

An instance that exists is valid: every rule that looks at one section alone is here, so that settings made in
a test obey it too. What needs files, the environment or several sections is in `loading`. Units stand beside the
fields; defaults are the ones that config.example.toml shows.

Nothing that may hold a password takes part in a repr.
"""

# Annotations are read at run time by pydantic: no `from __future__ import annotations` here.
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from harvester.config import checks, database_url
from harvester.core.model import RESOURCES
from harvester.core.period import Calendar, Period, WeekStart

_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

Whole = Annotated[int, BeforeValidator(checks.no_boolean)]
Number = Annotated[float, BeforeValidator(checks.no_boolean)]
Url = Annotated[str, AfterValidator(checks.http_url)]
OptionalUrl = Annotated[Url | None, BeforeValidator(checks.empty_is_none)]
Resource = Annotated[str, AfterValidator(checks.resource)]


class Address(NamedTuple):
    """Where the daemon listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@plain_dataclass(frozen=True, slots=True)
class Phone:
    """A number as the API writes it (digits alone, or "ALL"), and what people call it."""

    number: str
    name: str | None = None


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where one place of the configuration says that a password is: exactly one of the three is given."""

    place: str  # for messages
    value: SecretStr | None = field(default=None, repr=False)
    file: Path | None = None
    command: tuple[str, ...] | None = field(default=None, repr=False)
    directory: Path | None = None  # where `command` runs


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class PasswordSources:
    """What the environment and what the files say of a password; systemd's credentials stand between the two."""

    environment: Secret | None = None
    files: Secret | None = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Database:
    """Where values are stored. A SQLite `url` holds an absolute path."""

    url: Annotated[str, AfterValidator(database_url.absolute)] = Field(repr=False)
    schema: Annotated[str, AfterValidator(checks.schema_name)] = "public"
    auto_migrate: bool = False
    password: PasswordSources = PasswordSources()

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database, else None."""
        return database_url.sqlite_path(self.url)

    @property
    def safe_url(self) -> str:
        """The URL with its passwords hidden, for people."""
        return database_url.hide_password(self.url)

    def __repr__(self) -> str:
        return f"Database(url={self.safe_url!r}, schema={self.schema!r}, auto_migrate={self.auto_migrate!r})"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Api:
    """How the API is asked."""

    base_url: Annotated[str, AfterValidator(checks.base_url)] = "https://voicetrends.plumvoice.com/api"
    format: Literal["json", "xml"] = "json"
    method: Literal["GET", "POST"] = "GET"
    timeout: Annotated[Number, Field(gt=0, le=3600)] = 60.0  # seconds, one whole request
    concurrency: Annotated[Whole, Field(ge=1, le=256)] = 8  # requests in flight
    max_rate: Annotated[Number, Field(gt=0, le=100_000)] = 20.0  # requests per second
    max_days_per_request: Annotated[Whole, Field(ge=1, le=36_600)] = 366
    proxy: OptionalUrl = Field(default=None, repr=False)
    ca_file: Annotated[Path | None, BeforeValidator(checks.empty_is_none)] = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Quota:
    """What is believed of the quota until the server's headers say otherwise."""

    limit: Annotated[Whole, Field(ge=1, le=1_000_000)] = 150  # requests per window
    window: Annotated[Whole, Field(ge=1, le=31 * 86_400)] = 900  # seconds
    reserve: Annotated[Whole, Field(ge=0)] = 0  # requests per window left to others

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.reserve >= self.limit:
            raise PydanticCustomError(
                "field",
                "{reason}",
                {
                    "field": "reserve",
                    "reason": f"{self.reserve} of {self.limit} requests leave none to us: must be below `limit`",
                },
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Daemon:
    """How `run` behaves."""

    refresh: Annotated[str, AfterValidator(checks.cron)] = "5 * * * *"  # cron, UTC
    settle_days: Annotated[Whole, Field(ge=0, le=3660)] = 3
    listen: Annotated[Address | None, BeforeValidator(checks.listen)] = Address("127.0.0.1", 8150)
    allowed_hosts: tuple[Annotated[str, AfterValidator(checks.host_name)], ...] = ()
    ping_url: OptionalUrl = Field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Log:
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Account:
    """One login, its phones, and what is harvested of them."""

    name: Annotated[str, AfterValidator(checks.account_name)]
    login: Annotated[str, AfterValidator(checks.login)]
    tool: Annotated[Literal["dev", "insight", "fuseplus"] | None, BeforeValidator(checks.empty_is_none)] = None
    phones: Annotated[tuple[Phone, ...], Field(min_length=1)]
    resources: Annotated[tuple[Resource, ...], AfterValidator(checks.no_repeats)] = RESOURCES[:1]
    periods: Annotated[tuple[Period, ...], AfterValidator(checks.no_repeats)] = (Period.DAY,)
    start: Annotated[date | None, BeforeValidator(checks.day)] = None
    timezone: Annotated[str, AfterValidator(checks.zone)] = "America/New_York"
    week_start: WeekStart = WeekStart.SUNDAY
    api: Api = Api()
    quota: Quota = Quota()
    password: PasswordSources = PasswordSources()

    @model_validator(mode="after")
    def _basic_login(self) -> Self:
        if self.tool is None and ":" in self.login:
            reason = "temporary credentials hold no colon (HTTP Basic): give `tool`, if they are a tool's"
            raise PydanticCustomError("field", "{reason}", {"field": "login", "reason": reason})
        return self

    @property
    def calendar(self) -> Calendar:
        """Where this account's days and weeks begin."""
        return Calendar(ZoneInfo(self.timezone), self.week_start)


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is configured.

    `source` is the main file, None where the environment alone configures; `holding_secrets` are the files among
    those read that hold a password in plain text. `api` and `quota` are the process's; each account has its own
    copy with its overrides.
    """

    database: Database
    source: Path | None = None
    daemon: Daemon = field(default_factory=Daemon)
    log: Log = field(default_factory=Log)
    api: Api = field(default_factory=Api)
    quota: Quota = field(default_factory=Quota)
    accounts: Mapping[str, Account] = field(default_factory=dict)
    holding_secrets: tuple[Path, ...] = ()
