"""The events that the harvester emits: the name in the log, its level and its meaning.

An event is written once per occurrence with its facts as fields (`runner.ports.Observer`). The log takes the level from
here, the metrics count some of them, and docs/operations.md lists them; tests compare all three with this enum.
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
    FAILED = "failed", Level.WARNING, "A slice was given up for now; it is tried again later."
    REFUSED = "refused", Level.DEBUG, "The API refused a slice with a 4xx; the reason is searched for."
    RETRY = "retry", Level.DEBUG, "A request failed and is repeated after a pause."
    STORE_FAILED = "store_failed", Level.DEBUG, "A transaction failed; what it held is requested again."
    THROTTLED = "throttled", Level.INFO, "The API answered 429; the request is repeated when the quota allows it."
    UNAUTHORIZED = "unauthorized", Level.DEBUG, "The API answered 401; the slice waits until the cause is known."
    # Accounts
    CLAIMED = "claimed", Level.INFO, "The account is locked by this process, which now works on it."
    DATABASE_BACK = "database_back", Level.INFO, "The database accepts transactions again."
    DATABASE_LOST = "database_lost", Level.WARNING, "The connection to the database was lost; it is opened again."
    NO_CREDENTIALS = "no_credentials", Level.WARNING, "No temporary credentials are available; the login is retried."
    NO_DATABASE = "no_database", Level.WARNING, "The database cannot be used; it is tried again with growing pauses."
    PAUSED = "paused", Level.WARNING, "The account stopped until its problem is fixed or the next attempt is due."
    REACHABLE = "reachable", Level.INFO, "The API answers again."
    ROUND = "round", Level.INFO, "A round of the daemon ended."
    STANDBY = "standby", Level.INFO, "Another process holds the account; this one takes over when it ends."
    UNREACHABLE = "unreachable", Level.WARNING, "The API does not answer; single requests test it with growing pauses."
    WAITING_FOR_ACCOUNT = "waiting_for_account", Level.DEBUG, "A backfill waits for the process that holds the account."
    WAITING_FOR_AUTH = "waiting_for_auth", Level.INFO, "The limit of /auth is reached; the login waits."
    # The process
    BUG = "bug", Level.ERROR, "An unexpected error, with its traceback; report it."
    CLOCK_JUMPED = (
        "clock_jumped",
        Level.WARNING,
        "The host's clock was stepped or the host slept; the schedule is renewed.",
    )
    INTERRUPTED = "interrupted", Level.INFO, "A signal ends the run; requests in flight are finished first."
    PING_FAILED = "ping_failed", Level.WARNING, "The dead-man's switch at daemon.ping_url could not be reached."
    READY = "ready", Level.INFO, "The daemon is ready."
    RELOADED = "reloaded", Level.INFO, "The new configuration is in use."
    RELOAD_FAILED = "reload_failed", Level.ERROR, "The new configuration is invalid; the old one stays in use."
    RESTART_NEEDED = "restart_needed", Level.WARNING, "Changed settings that only a restart applies."
    STOPPED = "stopped", Level.INFO, "The daemon has stopped."
    STOPPING = "stopping", Level.INFO, "The daemon stops; requests in flight are finished first."
    WAITING_FOR_PORT = "waiting_for_port", Level.WARNING, "The address of the endpoints is in use; it is tried again."
