"""Events that the harvester emits: name in the log, level and meaning.

Code emits an event with its facts as keyword arguments (`runner.ports.Observer`). The log writes it at the level given
here, with the facts as fields, and the daemon's metrics count some events. docs/operations.md lists all of them; a test
compares that list and the emitting code with this enum.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Level(StrEnum):
    """Severity of an event, as the log names it."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Event(StrEnum):
    """Kinds of events; the value is the name in the log."""

    level: Level
    meaning: str

    def __new__(cls, name: str, level: Level, meaning: str) -> Self:
        """Create a member whose value is its name alone."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.level = level
        member.meaning = meaning
        return member

    # Requests and slices
    ANSWERED = "answered", Level.DEBUG, "An answer was accepted and waits to be stored."
    COMMITTED = "committed", Level.DEBUG, "A transaction with answers or failed slices was committed."
    FAILED = "failed", Level.WARNING, "A slice was given up; a later round or backfill requests it again."
    METRICS_REFUSED = (
        "metrics_refused",
        Level.WARNING,
        "The API sends too many metrics of unknown names; new ones are rejected. At most one line per account and day.",
    )
    NOT_SERVED_YET = (
        "not_served_yet",
        Level.INFO,
        "The API serves no day after `serves_until` yet; later days are requested again within a day.",
    )
    REFUSED = "refused", Level.DEBUG, "The API refused a slice; parts of it are requested to find the cause."
    RETRY = "retry", Level.DEBUG, "A request failed and is repeated after a pause."
    STORE_FAILED = "store_failed", Level.DEBUG, "A transaction failed; its contents are requested again."
    THROTTLED = "throttled", Level.INFO, "The API answered 429; the request is repeated when the quota allows it."
    UNAUTHORIZED = "unauthorized", Level.DEBUG, "The API answered 401; the slice is parked until the cause is known."
    # Accounts
    CLAIMED = "claimed", Level.INFO, "The daemon has locked the account and starts to work on it."
    DATABASE_BACK = "database_back", Level.INFO, "The database accepts transactions again."
    DATABASE_LOST = "database_lost", Level.WARNING, "The backfill lost the database and tries to connect again."
    NO_CREDENTIALS = "no_credentials", Level.WARNING, "/auth gave no usable answer; the login is repeated."
    NO_DATABASE = (
        "no_database",
        Level.WARNING,
        "The daemon cannot use the database and tries again, with growing pauses.",
    )
    PAUSED = "paused", Level.WARNING, "The account stopped until the problem is fixed or the next try is due."
    REACHABLE = "reachable", Level.INFO, "The API answers again."
    ROUND = "round", Level.INFO, "A round ended in which slices were stored or failed."
    STANDBY = "standby", Level.INFO, "Another process holds the account; the daemon waits to take over."
    UNREACHABLE = (
        "unreachable",
        Level.WARNING,
        "The API does not answer; single requests probe it, with growing pauses.",
    )
    WAITING_FOR_ACCOUNT = (
        "waiting_for_account",
        Level.DEBUG,
        "The backfill waits for the process that holds the account.",
    )
    WAITING_FOR_AUTH = "waiting_for_auth", Level.INFO, "The limit of /auth is reached; the login waits."
    # The process
    ABANDONED = "abandoned", Level.WARNING, "The process ended without waiting for a call that hangs."
    BUG = "bug", Level.ERROR, "An unexpected error, with its traceback; report it."
    CLOCK_JUMPED = "clock_jumped", Level.WARNING, "The clock was stepped or the host slept; a refresh starts now."
    CLOCK_SKEWED = (
        "clock_skewed",
        Level.WARNING,
        "The host's clock is more than a minute off the API's, whose days count; set the host's clock.",
    )
    INTERRUPTED = "interrupted", Level.INFO, "A signal ends the backfill; requests in flight are finished first."
    LIBRARY = "library", Level.WARNING, "A library reports a problem; `logger` names the library."
    PING_FAILED = "ping_failed", Level.WARNING, "daemon.ping_url did not accept the ping."
    READY = "ready", Level.INFO, "The daemon has started."
    RELOADED = "reloaded", Level.INFO, "The new configuration is in use."
    RELOAD_FAILED = "reload_failed", Level.ERROR, "The new configuration is invalid; the old one stays in use."
    RESTART_NEEDED = "restart_needed", Level.WARNING, "Changed settings that only a restart applies."
    STOPPED = "stopped", Level.INFO, "The daemon has stopped."
    STOPPING = "stopping", Level.INFO, "The daemon stops; requests in flight are finished first."
    WAITING_FOR_PORT = "waiting_for_port", Level.WARNING, "The endpoints cannot listen yet; the daemon tries again."
