"""Configuration: found, merged and checked as a whole before any part of it is used."""

from harvester.config.cron import cron_fields, ticks_per_day
from harvester.config.database_url import locate as locate_database
from harvester.config.loading import load
from harvester.config.narrowing import narrow, require_accounts
from harvester.config.secrets import database_password, password, warnings
from harvester.config.settings import (
    Account,
    Api,
    Daemon,
    Database,
    Log,
    ProcessApi,
    Quota,
    Settings,
)
from harvester.config.value_types import Address, PasswordSources, Phone, Secret

__all__ = [
    "Account",
    "Address",
    "Api",
    "Daemon",
    "Database",
    "Log",
    "PasswordSources",
    "Phone",
    "ProcessApi",
    "Quota",
    "Secret",
    "Settings",
    "cron_fields",
    "database_password",
    "load",
    "locate_database",
    "narrow",
    "password",
    "require_accounts",
    "ticks_per_day",
    "warnings",
]
