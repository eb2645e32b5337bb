"""The configuration as the rest of the program sees it: frozen, typed, complete.

An instance that exists is valid: every rule about one section alone is here, so that settings made in a test obey it
too. Rules that need files, the environment or several sections are in `sections`. Each field says in its SettingInfo
what it means, whether accounts may override it, and whether a reload applies a change; the defaults here are those
that config.example.toml shows.

A setting of the process is in a section that no account has, so that code cannot read an override that has no effect:
[api] of the file becomes `Settings.api` (ProcessApi) and, for each account, `Account.api` (Api).

No repr contains a value that may be a password.
"""

# Annotations are read at run time by pydantic: no `from __future__ import annotations` here.
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from harvester.config import checks, database_url
from harvester.config.setting_info import Reload, Scope, SettingInfo
from harvester.config.value_types import Address, PasswordSources, Phone
from harvester.core.model import RESOURCES
from harvester.core.period import Calendar, Period, WeekStart
from harvester.redaction import hide_url_password

PROCESS: Final = Scope.PROCESS
ACCOUNT: Final = Scope.ACCOUNT
LIVE: Final = Reload.LIVE
RESTART: Final = Reload.RESTART

_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

_GIVE_ONE = "The password itself. Give one of password, password_file and password_command."
_PASSWORD_KEYS = {
    "password_file": "File that contains the password and nothing else.",
    "password_command": "Command that prints the password in its first line; it runs without a shell.",
}

Whole = Annotated[int, BeforeValidator(checks.no_boolean)]
Number = Annotated[float, BeforeValidator(checks.no_boolean)]
Url = Annotated[str, AfterValidator(checks.http_url)]
OptionalUrl = Annotated[Url | None, BeforeValidator(checks.empty_is_none)]
Resource = Annotated[str, AfterValidator(checks.resource)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Database:
    """Database that stores the values. A SQLite `url` contains an absolute path."""

    url: Annotated[
        str,
        AfterValidator(database_url.validate),
        SettingInfo(
            "SQLite file or PostgreSQL server, the latter as a libpq URL: "
            '"postgresql://user@host/dbname?sslmode=verify-full". PGPASSFILE, PGSERVICE and the like work.',
            PROCESS,
            RESTART,
        ),
    ] = Field(repr=False)
    schema: Annotated[
        str,
        AfterValidator(checks.schema_name),
        SettingInfo(
            "PostgreSQL only: the schema of tables and views. `harvester migrate` creates it if it does not exist.",
            PROCESS,
            RESTART,
        ),
    ] = "public"
    auto_migrate: Annotated[
        bool,
        SettingInfo(
            "PostgreSQL only: if true, any command migrates the schema; otherwise only `harvester migrate` does. "
            "SQLite is always migrated on first use.",
            PROCESS,
            RESTART,
        ),
    ] = False
    password: Annotated[
        PasswordSources,
        SettingInfo(
            f"{_GIVE_ONE} It takes precedence over a password in `url` or PGPASSFILE.",
            PROCESS,
            RESTART,
            more=_PASSWORD_KEYS,
        ),
    ] = PasswordSources()

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database, else None."""
        return database_url.sqlite_path(self.url)

    @property
    def safe_url(self) -> str:
        """The URL with its passwords hidden, for messages."""
        return hide_url_password(self.url)

    def __repr__(self) -> str:
        return f"Database(url={self.safe_url!r}, schema={self.schema!r}, auto_migrate={self.auto_migrate!r})"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ProcessApi:
    """Keys of [api] that apply to the process as a whole."""

    concurrency: Annotated[
        Whole,
        Field(ge=1, le=256),
        SettingInfo(
            "Requests in flight at the same time, over all accounts. Accounts cannot override it.",
            PROCESS,
            LIVE,
        ),
    ] = 8


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Api:
    """Requests to the API, for one account."""

    base_url: Annotated[
        str,
        AfterValidator(checks.base_url),
        SettingInfo("URL before the names of the resources, without a login.", ACCOUNT, LIVE),
    ] = "https://voicetrends.plumvoice.com/api"
    format: Annotated[Literal["json", "xml"], SettingInfo("Format of the answers.", ACCOUNT, LIVE)] = "json"
    method: Annotated[Literal["GET", "POST"], SettingInfo("HTTP method of the requests.", ACCOUNT, LIVE)] = "GET"
    timeout: Annotated[
        Number,
        Field(gt=0, le=3600),
        SettingInfo("Limit for one whole request; connecting has at most 10 seconds of it.", ACCOUNT, LIVE, "seconds"),
    ] = 60.0
    max_rate: Annotated[
        Number,
        Field(gt=0, le=100_000),
        SettingInfo(
            "Highest rate of requests of one account, to be polite inside the quota.",
            ACCOUNT,
            LIVE,
            "requests per second",
        ),
    ] = 20.0
    max_days_per_request: Annotated[
        Whole,
        Field(ge=1, le=36_600),
        SettingInfo(
            "Longest range of one request. A range that the server refuses as too wide is halved, down to one period.",
            ACCOUNT,
            LIVE,
            "days",
        ),
    ] = 366
    proxy: Annotated[
        OptionalUrl,
        SettingInfo("HTTP proxy, with a login if it needs one.", ACCOUNT, LIVE),
    ] = Field(default=None, repr=False)
    ca_file: Annotated[
        Path | None,
        BeforeValidator(checks.empty_is_none),
        SettingInfo("File of CA certificates (PEM) to trust instead of the system's.", ACCOUNT, LIVE),
    ] = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Quota:
    """Quota of one account as assumed until the server's headers say otherwise."""

    limit: Annotated[
        Whole,
        Field(ge=1, le=1_000_000),
        SettingInfo("Size of the quota.", ACCOUNT, LIVE, "requests per window"),
    ] = 150
    window: Annotated[
        Whole,
        Field(ge=1, le=31 * 86_400),
        SettingInfo("Length of a quota window.", ACCOUNT, LIVE, "seconds"),
    ] = 900
    reserve: Annotated[
        Whole,
        Field(ge=0),
        SettingInfo(
            "Part of `limit` that is left to other API clients of the same account.",
            ACCOUNT,
            LIVE,
            "requests per window",
        ),
    ] = 0

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.reserve >= self.limit:
            reason = f"must be below `limit`: {self.reserve} of {self.limit} requests leave none for the harvester"
            raise PydanticCustomError("field", "{reason}", {"field": "reserve", "reason": reason})
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Daemon:
    """Behaviour of `run`."""

    refresh: Annotated[
        str,
        AfterValidator(checks.cron),
        SettingInfo(
            "Times of the refreshes: five cron fields (minute, hour, day of the month, month, weekday) in UTC. Weekday "
            "0 and 7 are Sunday.",
            PROCESS,
            LIVE,
        ),
    ] = "5 * * * *"
    settle_days: Annotated[
        Whole,
        Field(ge=0, le=3660),
        SettingInfo(
            "A period is final this long after its end. Until then each refresh fetches it again.",
            PROCESS,
            LIVE,
            "days",
        ),
    ] = 3
    listen: Annotated[
        Address | None,
        BeforeValidator(checks.listen),
        SettingInfo('Address of /healthz, /readyz and /metrics. "" switches them off.', PROCESS, RESTART),
    ] = Address("127.0.0.1", 8150)
    allowed_hosts: Annotated[
        tuple[Annotated[str, AfterValidator(checks.host_name)], ...],
        SettingInfo(
            "Host names that clients may use besides localhost: the Host header without the port.",
            PROCESS,
            RESTART,
        ),
    ] = ()
    ping_url: Annotated[
        OptionalUrl,
        SettingInfo("URL to fetch after each good refresh: a dead-man's switch.", PROCESS, LIVE),
    ] = Field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Log:
    """Logging to stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        SettingInfo("Lowest severity that is logged.", PROCESS, RESTART),
    ] = "info"
    format: Annotated[
        Literal["auto", "console", "json"],
        SettingInfo('"auto" is console on a terminal, else json.', PROCESS, RESTART),
    ] = "auto"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Account:
    """One login, its phones, and the series to harvest."""

    name: Annotated[
        str,
        AfterValidator(checks.account_name),
        SettingInfo("Name of the account's table: lower-case letters, digits, - and _, no __.", ACCOUNT, LIVE),
    ]
    login: Annotated[
        str,
        AfterValidator(checks.login),
        SettingInfo("Login of the tool. Without `tool`, the temporary login.", ACCOUNT, LIVE),
    ]
    tool: Annotated[
        Literal["dev", "insight", "fuseplus"] | None,
        BeforeValidator(checks.empty_is_none),
        SettingInfo(
            "Tool that login and password belong to; they are exchanged for temporary ones. Without it, login and "
            "password are the temporary credentials themselves.",
            ACCOUNT,
            LIVE,
        ),
    ] = None
    phones: Annotated[
        tuple[Phone, ...],
        Field(min_length=1),
        SettingInfo(
            '"ALL" is the sum over all phones, as VoiceTrends counts it. Numbers may be written in the usual ways: '
            '"(800) 555-1234" and "+1 800 555 1234" are 8005551234. Other countries need the + and the country code.',
            ACCOUNT,
            LIVE,
            more={
                "phones_file": "File with further phones, one per line: the number, then optionally a name. Lines that "
                "begin with # are comments."
            },
        ),
    ]
    resources: Annotated[
        tuple[Resource, ...],
        AfterValidator(checks.no_repeats),
        SettingInfo('Resources to harvest. Values: "performance", "volume", "events", "profile".', ACCOUNT, LIVE),
    ] = RESOURCES[:1]
    periods: Annotated[
        tuple[Period, ...],
        AfterValidator(checks.no_repeats),
        SettingInfo("Periods by which to harvest.", ACCOUNT, LIVE),
    ] = (Period.DAY,)
    start: Annotated[
        date | None,
        BeforeValidator(checks.day),
        SettingInfo(
            "First day that `harvester run` keeps complete. `harvester backfill` has --start instead.", ACCOUNT, LIVE
        ),
    ] = None
    timezone: Annotated[
        str,
        AfterValidator(checks.zone),
        SettingInfo("IANA time zone in which VoiceTrends begins its days.", ACCOUNT, LIVE),
    ] = "America/New_York"
    week_start: Annotated[WeekStart, SettingInfo("Day on which VoiceTrends begins its weeks.", ACCOUNT, LIVE)] = (
        WeekStart.SUNDAY
    )
    api: Api = Api()
    quota: Quota = Quota()
    password: Annotated[
        PasswordSources,
        SettingInfo(
            f"{_GIVE_ONE} The systemd credential NAME.password takes precedence over it.",
            ACCOUNT,
            LIVE,
            more=_PASSWORD_KEYS,
        ),
    ] = PasswordSources()

    @model_validator(mode="after")
    def _basic_login(self) -> Self:
        if self.tool is None and ":" in self.login:
            reason = "temporary credentials contain no colon (HTTP Basic): give `tool` if they belong to a tool"
            raise PydanticCustomError("field", "{reason}", {"field": "login", "reason": reason})
        return self

    @property
    def calendar(self) -> Calendar:
        """The zone and week start of this account's days and weeks."""
        return Calendar(ZoneInfo(self.timezone), self.week_start)


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration.

    `source` is the main file, None if the configuration comes from the environment alone; `holding_secrets` are the
    files among those read that contain a password in plain text.
    """

    database: Database
    source: Path | None = None
    daemon: Daemon = field(default_factory=Daemon)
    log: Log = field(default_factory=Log)
    api: ProcessApi = field(default_factory=ProcessApi)
    accounts: Mapping[str, Account] = field(default_factory=dict)
    holding_secrets: tuple[Path, ...] = ()
